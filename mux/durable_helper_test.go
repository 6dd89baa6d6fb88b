package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// memSpool is a Spool in memory, which the tests can have fail. It outlives a Mux, as a
// store outlives hookmux.
type memSpool struct {
	mu     sync.Mutex
	queues map[string]*memStore
}

// memStore is what is stored for one provider.
type memStore struct {
	mu     sync.Mutex
	events []*Stored
	done   map[uint64]bool
	buried []*Stored
	deaths []Death
	fail   error // of Store and Bury
	hang   bool
	loads  int
	added  notifier
}

// memQueue is an open Queue over a memStore.
type memQueue struct {
	*memStore
	at     int
	closed chan struct{}
}

func (s *memSpool) store(provider string) *memStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues == nil {
		s.queues = make(map[string]*memStore)
	}
	if s.queues[provider] == nil {
		s.queues[provider] = &memStore{done: make(map[uint64]bool)}
	}
	return s.queues[provider]
}

func (s *memSpool) Queue(provider string) Queue {
	return &memQueue{memStore: s.store(provider), closed: make(chan struct{})}
}

func (q *memStore) set(fail error, hang bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail, q.hang = fail, hang
}

func (q *memQueue) Store(ctx context.Context, e *Stored) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hang {
		q.mu.Unlock()
		<-ctx.Done()
		q.mu.Lock()
		return ctx.Err()
	}
	if q.fail != nil {
		return q.fail
	}
	e.Seq = uint64(len(q.events) + 1)
	e.ID = fmt.Sprintf("id-%d", e.Seq)
	q.events = append(q.events, e)
	q.added.broadcast()
	return nil
}

func (q *memQueue) Next() (*Stored, error) {
	for {
		added := q.added.wait()
		q.mu.Lock()
		for q.at < len(q.events) {
			e := *q.events[q.at]
			q.at++
			if !q.done[e.Seq] {
				q.mu.Unlock()
				return &e, nil
			}
		}
		q.mu.Unlock()
		select {
		case <-added:
		case <-q.closed:
			return nil, errors.New("closed")
		}
	}
}

func (q *memQueue) Load(_ context.Context, seq uint64) (*Stored, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loads++
	if q.done[seq] {
		return nil, ErrNotStored
	}
	e := *q.events[seq-1]
	return &e, nil
}

func (q *memQueue) Done(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done[seq] = true
}

func (q *memQueue) Bury(_ context.Context, e *Stored, why Death) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return q.fail
	}
	q.buried, q.deaths = append(q.buried, e), append(q.deaths, why)
	q.done[e.Seq] = true
	return nil
}

func (q *memQueue) Close() { close(q.closed) }

// left is how many events are stored and not done.
func (q *memStore) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events) - len(q.done)
}
