package main

import (
	"net"
	"time"
)

const (
	// Of one direction of one connection: about what the kernel lets a TCP connection have in flight.
	mostInFlight = 4 * 1024 * 1024
	delayedChunk = 64 * 1024
)

// What has been sent, and when it arrives.
type parcel struct {
	bytes []byte
	due   time.Time
	last  bool
}

// Takes connections at one address and brings them to another; each byte takes so long each way.
func delay(from, to string, by time.Duration) error {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return err
	}
	go accept(listener, func(near net.Conn) {
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer far.Close()
		done := make(chan struct{}, 2)
		go carry(near, far, by, done)
		go carry(far, near, by, done)
		<-done
		<-done
	})
	return nil
}

func carry(from, to net.Conn, by time.Duration, done chan<- struct{}) {
	parcels := make(chan parcel, mostInFlight/delayedChunk)
	go deliver(parcels, to, done)
	defer close(parcels)
	for {
		buffer := make([]byte, delayedChunk)
		n, err := from.Read(buffer)
		parcels <- parcel{buffer[:n], time.Now().Add(by), err != nil}
		if err != nil {
			return
		}
	}
}

func deliver(parcels <-chan parcel, to net.Conn, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	for parcel := range parcels {
		time.Sleep(time.Until(parcel.due))
		if _, err := to.Write(parcel.bytes); err != nil {
			to.Close()
			for range parcels { // so that whoever reads gets to its own end
			}
			return
		}
		if parcel.last {
			to.(*net.TCPConn).CloseWrite()
		}
	}
}
