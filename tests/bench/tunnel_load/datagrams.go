package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// After so long without an answer, all that is outstanding counts as lost.
const datagramPatience = 200 * time.Millisecond

type datagramResult struct {
	PerSecond float64 `json:"perSecond"`
	Sent      int     `json:"sent"`
	Lost      int     `json:"lost"`
}

// Sends back every datagram.
func echoDatagrams(hostname string, port *int) error {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(hostname)})
	if err != nil {
		return err
	}
	*port = socket.LocalAddr().(*net.UDPAddr).Port
	go func() {
		buffer := make([]byte, 65536)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			socket.WriteToUDPAddrPort(buffer[:n], from)
		}
	}()
	return nil
}

func (t target) openDatagrams() (*net.UDPConn, error) {
	return net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(t.Address.Hostname), Port: t.Address.Port})
}

// One that gets an answer, for whoever waits until there is a way.
func (j job) tryDatagram() error {
	socket, err := j.To.openDatagrams()
	if err != nil {
		return err
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(datagramPatience))
	buffer := make([]byte, j.Bytes)
	if _, err := socket.Write(buffer); err != nil {
		return err
	}
	_, err = socket.Read(buffer)
	return err
}

// Datagrams to an echo: so many outstanding at any time, or so many a second.
func (j job) datagrams() (any, error) {
	socket, err := j.To.openDatagrams()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	if j.PerSecond > 0 {
		return j.pacedDatagrams(socket)
	}
	sent, received, lost := 0, 0, 0
	buffer := make([]byte, 65536)
	send := func(count int) error {
		for ; count > 0; count-- {
			binary.BigEndian.PutUint64(buffer, uint64(sent))
			sent++
			if _, err := socket.Write(buffer[:j.Bytes]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := send(j.Connections); err != nil {
		return nil, err
	}
	outstanding := j.Connections
	end := time.Now().Add(seconds(j.Seconds))
	for i := 0; ; i++ {
		if i%64 == 0 {
			now := time.Now()
			if now.After(end) {
				break
			}
			socket.SetReadDeadline(now.Add(datagramPatience))
		}
		_, err := socket.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			lost += outstanding
			outstanding = 0
			i = -1
			if err := send(j.Connections); err != nil {
				return nil, err
			}
			outstanding = j.Connections
			continue
		}
		if err != nil {
			return nil, err
		}
		received++
		if err := send(1); err != nil {
			return nil, err
		}
	}
	return datagramResult{float64(received) / j.Seconds, sent, lost}, nil
}

// In bursts of a millisecond, which is what a timer can do.
func (j job) pacedDatagrams(socket *net.UDPConn) (any, error) {
	var received atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 65536)
		for {
			if _, err := socket.Read(buffer); err != nil {
				return
			}
			received.Add(1)
		}
	}()
	buffer := make([]byte, j.Bytes)
	sent := 0
	begun := time.Now()
	for time.Since(begun) < seconds(j.Seconds) {
		for due := int(time.Since(begun).Seconds() * j.PerSecond); sent < due; sent++ {
			if _, err := socket.Write(buffer); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(datagramPatience)
	socket.SetReadDeadline(time.Now())
	<-done
	count := int(received.Load())
	return datagramResult{float64(count) / j.Seconds, sent, sent - count}, nil
}
