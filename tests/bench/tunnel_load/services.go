package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// What the services behind the agent listen on.
type ports struct {
	Http      int `json:"http"`
	Echo      int `json:"echo"`
	Sink      int `json:"sink"`
	Source    int `json:"source"`
	Datagrams int `json:"datagrams"`
}

// As long as a small answer of an API.
var page = []byte(strings.Repeat("0123456789abcdef", 16))

func serve(hostname string) (ports, error) {
	var all ports
	for _, service := range []struct {
		port *int
		take func(net.Conn)
	}{{&all.Echo, echo}, {&all.Sink, sink}, {&all.Source, source}} {
		listener, err := listen(hostname, service.port)
		if err != nil {
			return all, err
		}
		go accept(listener, service.take)
	}
	if err := echoDatagrams(hostname, &all.Datagrams); err != nil {
		return all, err
	}
	listener, err := listen(hostname, &all.Http)
	if err != nil {
		return all, err
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		w.Write(page)
	}))
	return all, nil
}

func listen(hostname string, port *int) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(hostname, "0"))
	if err == nil {
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return listener, err
}

func accept(listener net.Listener, take func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			take(connection)
		}()
	}
}

func echo(connection net.Conn) {
	buffer := make([]byte, 4096) // small: a thousand of them may be idle
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func sink(connection net.Conn) {
	buffer := make([]byte, chunkBytes)
	for {
		if _, err := connection.Read(buffer); err != nil {
			return
		}
	}
}

// Sends without end, once it has been sent something.
func source(connection net.Conn) {
	buffer := make([]byte, chunkBytes)
	if _, err := io.ReadAtLeast(connection, buffer, 1); err != nil {
		return
	}
	for {
		if _, err := connection.Write(buffer); err != nil {
			return
		}
	}
}
