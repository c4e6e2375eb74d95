package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkBytes = 256 * 1024
	pingBytes  = 64

	// Throughput counts from here: windows have grown, and what is to be compiled at run time has been.
	warmUp = 700 * time.Millisecond

	// How long a single answer may take.
	patience = 20 * time.Second
)

type target struct {
	Address struct {
		Hostname string `json:"hostname"`
		Port     int    `json:"port"`
	} `json:"address"`
	// Speaks TLS and asks for this name; plain when empty.
	ServerName string `json:"serverName"`
}

type job struct {
	Kind        string  `json:"kind"`
	To          target  `json:"to"`
	Host        string  `json:"host"`
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	Pace        float64 `json:"bytesPerSecond"`
	Bytes       int     `json:"bytes"`
	PerSecond   float64 `json:"perSecond"`
	Bulk        *job    `json:"bulk"`
}

type throughput struct {
	BytesPerSecond float64 `json:"bytesPerSecond"`
}

type beside struct {
	rate
	throughput
}

type released struct {
	Alive int `json:"alive"`
}

func (j job) perform() (any, error) {
	switch j.Kind {
	case "ready":
		return j.ready()
	case "keep-alive":
		return j.requests(true)
	case "fresh":
		return j.requests(false)
	case "up", "down":
		return j.throughput()
	case "rtt":
		return j.roundTrips()
	case "beside":
		return j.beside()
	case "datagrams":
		return j.datagrams()
	case "hold":
		return j.hold()
	case "release":
		return release()
	}
	return nil, fmt.Errorf("no such job: %q", j.Kind)
}

func (t target) open() (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	raw, err := dialer.Dial("tcp", net.JoinHostPort(t.Address.Hostname, fmt.Sprint(t.Address.Port)))
	if err != nil || t.ServerName == "" {
		return raw, err
	}
	// Without a ClientSessionCache each handshake is a full one. Who the gateway is, is not what is measured.
	connection := tls.Client(raw, &tls.Config{
		ServerName:         t.ServerName,
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true,
	})
	connection.SetDeadline(time.Now().Add(patience))
	if err := connection.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	connection.SetDeadline(time.Time{})
	return connection, nil
}

// Tries until the tunnel carries bytes.
func (j job) ready() (any, error) {
	end := time.Now().Add(seconds(j.Seconds))
	for {
		err := j.tryOnce()
		if err == nil {
			return struct{}{}, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("not ready: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (j job) tryOnce() error {
	if j.Bytes > 0 {
		return j.tryDatagram()
	}
	connection, err := j.To.open()
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(2 * time.Second))
	if j.Host != "" {
		return newExchange(connection, j.Host).once()
	}
	return ping(connection, make([]byte, pingBytes))
}

func (j job) throughput() (any, error) {
	var total atomic.Int64
	begun := time.Now()
	start, end := begun.Add(warmUp), begun.Add(warmUp+seconds(j.Seconds))
	err := inParallel(j.Connections, func() error { return j.stream(start, end, &total, nil) })
	return throughput{float64(total.Load()) / j.Seconds}, err
}

// Moves bytes until the end, or until it is stopped, and adds up those from the start on.
func (j job) stream(start, end time.Time, total *atomic.Int64, stopped *atomic.Bool) error {
	connection, err := j.To.open()
	if err != nil {
		return err
	}
	defer connection.Close()
	buffer := make([]byte, chunkBytes)
	connection.SetDeadline(end.Add(patience))
	if _, err := connection.Write(buffer[:1]); err != nil { // a source waits for it
		return err
	}
	var moved float64
	for begun := time.Now(); ; {
		if j.Pace > 0 {
			time.Sleep(time.Until(begun.Add(seconds(moved / j.Pace))))
		}
		var n int
		if j.Kind == "up" {
			n, err = connection.Write(buffer)
		} else {
			n, err = connection.Read(buffer)
		}
		if err != nil {
			return fmt.Errorf("in mid-transfer: %w", err)
		}
		moved += float64(n)
		now := time.Now()
		if now.After(end) || stopped != nil && stopped.Load() {
			return nil
		}
		if now.After(start) {
			total.Add(int64(n))
		}
	}
}

func (j job) roundTrips() (any, error) {
	var times samples
	end := time.Now().Add(seconds(j.Seconds))
	err := inParallel(j.Connections, func() error { return j.pingUntil(end, &times) })
	return times.rate(j.Seconds), err
}

func (j job) pingUntil(end time.Time, times *samples) error {
	connection, err := j.To.open()
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(end.Add(patience))
	buffer := make([]byte, pingBytes)
	if err := ping(connection, buffer); err != nil { // opening the way is not what is measured
		return err
	}
	for begun := time.Now(); begun.Before(end); {
		if err := ping(connection, buffer); err != nil {
			return err
		}
		now := time.Now()
		times.add(now.Sub(begun))
		begun = now
	}
	return nil
}

// Round trips on connections of their own, while others move as much as they can.
func (j job) beside() (any, error) {
	if j.Bulk == nil {
		return nil, errors.New("nothing to be beside of")
	}
	var times samples
	var total atomic.Int64
	var stopped atomic.Bool
	begun := time.Now()
	start := begun.Add(warmUp)
	end := start.Add(seconds(j.Seconds))
	bulk := make(chan error, 1)
	go func() {
		bulk <- inParallel(j.Bulk.Connections, func() error {
			return j.Bulk.stream(start, end.Add(patience), &total, &stopped)
		})
	}()
	time.Sleep(warmUp)
	err := inParallel(j.Connections, func() error { return j.pingUntil(end, &times) })
	moved := float64(total.Load()) / time.Since(start).Seconds()
	stopped.Store(true)
	return beside{times.rate(j.Seconds), throughput{moved}}, errors.Join(err, <-bulk)
}

var held []net.Conn

func (j job) hold() (any, error) {
	var lock sync.Mutex
	const lanes = 16
	var next atomic.Int64
	err := inParallel(lanes, func() error {
		for next.Add(1) <= int64(j.Connections) {
			connection, err := j.To.open()
			if err != nil {
				return err
			}
			lock.Lock()
			held = append(held, connection)
			lock.Unlock()
			connection.SetDeadline(time.Now().Add(patience))
			if err := ping(connection, make([]byte, pingBytes)); err != nil {
				return err
			}
		}
		return nil
	})
	return struct{}{}, err
}

func release() (any, error) {
	var result released
	buffer := make([]byte, pingBytes)
	for _, connection := range held {
		connection.SetDeadline(time.Now().Add(patience))
		if ping(connection, buffer) == nil {
			result.Alive++
		}
		connection.Close()
	}
	held = nil
	return result, nil
}

func ping(connection net.Conn, buffer []byte) error {
	if _, err := connection.Write(buffer); err != nil {
		return err
	}
	_, err := io.ReadFull(connection, buffer)
	return err
}

func seconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Second))
}
