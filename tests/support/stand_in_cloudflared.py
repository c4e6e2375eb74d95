"""Stands in for cloudflared: the same command line and log lines, and the faults that a test asks for.

Nothing reaches it by its environment, so what it shall do stands beside it: key=value lines in `behaviour`, then in
`behaviour-HOSTNAME`. Each start adds a line to `starts`. See cloudflared.ts for the keys.
"""
import _thread
import os
import signal
import socket
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(sys.argv[0]))


def read_behaviour(hostname):
    found = {}
    for name in ("behaviour", "behaviour-" + hostname):
        try:
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                for line in file.read().splitlines():
                    key, _, value = line.partition("=")
                    found.setdefault(key, []).append(value)
        except FileNotFoundError:
            pass
    return found


def note_start(fields):
    line = "\x1f".join(fields + sys.argv[1:] + ["\x1e"] + [f"{k}={v}" for k, v in sorted(os.environ.items())])
    descriptor = os.open(os.path.join(FOLDER, "starts"), os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def say(text):
    os.write(2, (text + "\n").encode())


def log(level, message):
    say(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) + f" {level} {message}")


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve(connection, behaviour):
    if "take" in behaviour:
        connection.recv(1)
    for line in behaviour.get("each", []):
        say(line)
    if "drop" in behaviour:
        connection.close()  # with bytes unread, as when the edge was not reached: a reset
    elif "backend" in behaviour:
        host, _, port = behaviour["backend"][-1].rpartition(":")
        backend = socket.create_connection((host, int(port)))
        _thread.start_new_thread(copy, (backend, connection))
        copy(connection, backend)
    else:
        copy(connection, connection)


def babble(size):
    line = b"x" * 99 + b"\n"
    block = line * 640
    for _ in range(size // len(block)):
        os.write(1, block)
        os.write(2, block)


def main():
    hostname = option("--hostname")
    url = option("--url")
    port = int(url.rpartition(":")[2])
    behaviour = read_behaviour(hostname)
    note_start([str(os.getpid()), hostname, str(port)])
    if "ignore_term" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "babble" in behaviour:
        babble(int(behaviour["babble"][-1]))
    time.sleep(int(behaviour.get("start_ms", ["0"])[-1]) / 1000)
    for line in behaviour.get("say", []):
        say(line)
    if "exit" in behaviour:
        sys.exit(int(behaviour["exit"][-1]))
    if "never_listen" in behaviour:
        time.sleep(3600)
    if "silent" not in behaviour:
        log("INF", f"Start Websocket listener host={url}")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        time.sleep(int(behaviour.get("listen_ms", ["0"])[-1]) / 1000)
        if "taken" in behaviour:
            raise OSError
        listener.bind(("127.0.0.1", port))
    except OSError:
        error = f"failed to start forwarding server: listen tcp 127.0.0.1:{port}: bind: address already in use"
        log("ERR", f'Error on Websocket listener error="{error}"')
        say(error)
        sys.exit(1)
    listener.listen(1024)
    for line in behaviour.get("then", []):
        say(line)
    accepted = 0
    while True:
        connection, _ = listener.accept()
        accepted += 1
        if accepted > int(behaviour.get("crash_after", ["1000000"])[-1]):
            os._exit(3)
        _thread.start_new_thread(serve, (connection, behaviour))


main()
