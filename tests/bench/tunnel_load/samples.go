package main

import (
	"sort"
	"sync"
	"time"
)

type rate struct {
	PerSecond float64 `json:"perSecond"`
	P50Us     float64 `json:"p50Us"`
	P99Us     float64 `json:"p99Us"`
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

// The first failure of any lane, once all have ended.
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
