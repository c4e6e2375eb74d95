package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// One HTTP/1.1 exchange after the other on one connection.
type exchange struct {
	connection net.Conn
	reader     *bufio.Reader
	request    []byte
}

func newExchange(connection net.Conn, host string) *exchange {
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: tunnel_load\r\nAccept: */*\r\n\r\n", host)
	return &exchange{connection, bufio.NewReaderSize(connection, 4096), []byte(request)}
}

func (e *exchange) once() error {
	if _, err := e.connection.Write(e.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(e.reader, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || n != int64(len(page)) {
		return fmt.Errorf("HTTP %d with %d bytes", response.StatusCode, n)
	}
	return nil
}

// Requests one after the other on each lane; a fresh connection for each, or one for all.
func (j job) requests(keepAlive bool) (any, error) {
	var times samples
	end := time.Now().Add(seconds(j.Seconds))
	err := inParallel(j.Connections, func() error {
		var current *exchange
		defer func() {
			if current != nil {
				current.connection.Close()
			}
		}()
		for begun := time.Now(); begun.Before(end); begun = time.Now() {
			if current == nil {
				connection, err := j.To.open()
				if err != nil {
					return err
				}
				current = newExchange(connection, j.Host)
			}
			current.connection.SetDeadline(begun.Add(patience))
			if err := current.once(); err != nil {
				return err
			}
			times.add(time.Since(begun))
			if !keepAlive {
				current.connection.Close()
				current = nil
			}
		}
		return nil
	})
	return times.rate(j.Seconds), err
}
