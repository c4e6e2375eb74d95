// Command tls_load makes TLS load with a client certificate and measures it. It is told what to do in lines of JSON, as
// load.ts is. It is written in Go because its TLS costs a fraction of what the proxies' does: what is measured on two
// cores is then the proxy.
//
// Usage: tls_load CERTIFICATE KEY
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"sync"
	"time"
)

const (
	chunkBytes = 256 * 1024
	pingBytes  = 64

	// Throughput counts from here: slow start and first growth of buffers are over.
	warmUp = 300 * time.Millisecond

	// How long a single handshake or answer may take.
	patience = 20 * time.Second
)

type target struct {
	Address struct {
		Hostname string `json:"hostname"`
		Port     int    `json:"port"`
	} `json:"address"`
	ServerName string `json:"serverName"`
}

type job struct {
	Kind        string  `json:"kind"`
	To          target  `json:"to"`
	Connections int     `json:"connections"`
	Parallel    int     `json:"parallel"`
	PerSecond   float64 `json:"perSecond"`
	Seconds     float64 `json:"seconds"`
}

type throughput struct {
	BytesPerSecond float64 `json:"bytesPerSecond"`
}

type rate struct {
	PerSecond float64 `json:"perSecond"`
	P50Us     float64 `json:"p50Us"`
	P99Us     float64 `json:"p99Us"`
}

type answer struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

var config *tls.Config

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	config = &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS13,
		// What every proxy here knows: a post-quantum exchange would be done with some of them only.
		CurvePreferences: []tls.CurveID{tls.X25519},
		// Without a ClientSessionCache each handshake is a full one. Who the proxy is, is not what is measured.
		InsecureSkipVerify: true,
	}
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var next job
		if err := json.Unmarshal(in.Bytes(), &next); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		result, err := next.perform()
		if err != nil {
			out.Encode(answer{Error: err.Error()})
		} else {
			out.Encode(answer{Result: result})
		}
	}
}

func (j job) perform() (any, error) {
	switch j.Kind {
	case "up", "down":
		return j.throughput()
	case "connect":
		return j.connectRate()
	case "paced":
		return j.pacedConnects()
	case "rtt":
		return j.roundTrips()
	}
	return nil, fmt.Errorf("no such job: %q", j.Kind)
}

func (j job) open() (*tls.Conn, error) {
	config := config.Clone()
	config.ServerName = j.To.ServerName
	address := net.JoinHostPort(j.To.Address.Hostname, fmt.Sprint(j.To.Address.Port))
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	connection := tls.Client(raw, config)
	connection.SetDeadline(time.Now().Add(patience))
	if err := connection.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	connection.SetDeadline(time.Time{})
	return connection, nil
}

func (j job) throughput() (any, error) {
	start := time.Now().Add(warmUp)
	end := start.Add(seconds(j.Seconds))
	var total int64
	var lock sync.Mutex
	err := inParallel(j.Connections, func() error {
		connection, err := j.open()
		if err != nil {
			return err
		}
		defer connection.NetConn().Close()
		buffer := make([]byte, chunkBytes)
		if _, err := connection.Write(buffer[:1]); err != nil { // a source waits for it
			return err
		}
		var bytes int64
		for {
			var n int
			if j.Kind == "up" {
				n, err = connection.Write(buffer)
			} else {
				n, err = connection.Read(buffer)
			}
			if err != nil {
				return fmt.Errorf("in mid-transfer: %w", err)
			}
			now := time.Now()
			if now.After(end) {
				break
			}
			if now.After(start) {
				bytes += int64(n)
			}
		}
		lock.Lock()
		total += bytes
		lock.Unlock()
		return nil
	})
	return throughput{float64(total) / j.Seconds}, err
}

// One connection after the other on each lane.
func (j job) connectRate() (any, error) {
	var times samples
	end := time.Now().Add(seconds(j.Seconds))
	err := inParallel(j.Parallel, func() error {
		for time.Now().Before(end) {
			if err := j.connectOnce(&times); err != nil {
				return err
			}
		}
		return nil
	})
	return times.rate(j.Seconds), err
}

// So many connections a second, whether or not those before are done: their latency without a queue in front.
func (j job) pacedConnects() (any, error) {
	var times samples
	count := int(j.PerSecond * j.Seconds)
	begun := time.Now()
	errs := make(chan error, count)
	for i := 0; i < count; i++ {
		time.Sleep(time.Until(begun.Add(seconds(float64(i) / j.PerSecond))))
		go func() { errs <- j.connectOnce(&times) }()
	}
	var first error
	for i := 0; i < count; i++ {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return times.rate(time.Since(begun).Seconds()), first
}

// From before the connect to the echo of what was sent: TLS 1.3 lets a client go on before its certificate is judged.
func (j job) connectOnce(times *samples) error {
	begun := time.Now()
	connection, err := j.open()
	if err != nil {
		return err
	}
	defer connection.NetConn().Close()
	connection.SetDeadline(begun.Add(patience))
	if err := ping(connection, make([]byte, pingBytes)); err != nil {
		return err
	}
	times.add(time.Since(begun))
	return nil
}

func (j job) roundTrips() (any, error) {
	var times samples
	end := time.Now().Add(seconds(j.Seconds))
	err := inParallel(j.Connections, func() error {
		connection, err := j.open()
		if err != nil {
			return err
		}
		defer connection.NetConn().Close()
		buffer := make([]byte, pingBytes)
		for begun := time.Now(); begun.Before(end); {
			if err := ping(connection, buffer); err != nil {
				return err
			}
			now := time.Now()
			times.add(now.Sub(begun))
			begun = now
		}
		return nil
	})
	return times.rate(j.Seconds), err
}

func ping(connection *tls.Conn, buffer []byte) error {
	if _, err := connection.Write(buffer); err != nil {
		return err
	}
	_, err := io.ReadFull(connection, buffer)
	return err
}

type samples struct {
	lock  sync.Mutex
	times []time.Duration
}

func (s *samples) add(time time.Duration) {
	s.lock.Lock()
	s.times = append(s.times, time)
	s.lock.Unlock()
}

func (s *samples) rate(seconds float64) rate {
	sort.Slice(s.times, func(a, b int) bool { return s.times[a] < s.times[b] })
	return rate{float64(len(s.times)) / seconds, s.percentileUs(0.5), s.percentileUs(0.99)}
}

// The nearest rank.
func (s *samples) percentileUs(share float64) float64 {
	if len(s.times) == 0 {
		return 0
	}
	rank := int(share*float64(len(s.times))+0.999999) - 1
	return float64(s.times[max(0, rank)].Nanoseconds()) / 1000
}

func inParallel(lanes int, work func() error) error {
	errs := make(chan error, lanes)
	for i := 0; i < lanes; i++ {
		go func() { errs <- work() }()
	}
	var first error
	for i := 0; i < lanes; i++ {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func seconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Second))
}
