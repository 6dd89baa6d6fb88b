package spool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// Info is what is stored for one provider.
type Info struct {
	Provider string
	// Orphaned says that nobody delivers it: no provider of that name is delivered
	// to durably.
	Orphaned bool

	Events, Bytes uint64
	Oldest        time.Time // zero: there is none

	Dead, DeadBytes uint64
	OldestDead      time.Time
}

// Letter is a dead letter.
type Letter struct {
	Provider string
	ID       string
	Hook     mux.Hook
	Client   string
	Topic    string
	Time     time.Time // when the broker told it
	Died     time.Time
	Tries    int
	Error    string
	Body     []byte // the request

	seq uint64
}

// ErrNoLetter says that there is no dead letter with that id.
var ErrNoLetter = errors.New("there is no such dead letter")

// ErrNoStore says that nothing is stored for a provider.
var ErrNoStore = errors.New("nothing is stored for it")

// ErrInUse says that what is stored for a provider is being delivered.
var ErrInUse = errors.New("it is being delivered")

// List says what is stored, by provider.
func (s *Spool) List(ctx context.Context) ([]Info, error) {
	by := make(map[string]*Info)
	l := s.outJS.ListStreams(ctx)
	for st := range l.Info() {
		provider, dead, ok := s.providerOf(st.Config.Name)
		if !ok || checkName(provider) != nil {
			continue
		}
		i := by[provider]
		if i == nil {
			i = &Info{Provider: provider, Orphaned: !s.isOpen(provider)}
			by[provider] = i
		}
		if dead {
			i.Dead, i.DeadBytes, i.OldestDead = st.State.Msgs, st.State.Bytes, oldest(st.State)
		} else {
			i.Events, i.Bytes, i.Oldest = st.State.Msgs, st.State.Bytes, oldest(st.State)
		}
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("ask the store: %w", err)
	}
	var out []Info
	for _, i := range by {
		if !i.Orphaned || i.Events+i.Dead > 0 {
			out = append(out, *i)
		}
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Provider, b.Provider) })
	return out, nil
}

func oldest(s jetstream.StreamState) time.Time {
	if s.Msgs == 0 {
		return time.Time{}
	}
	return s.FirstTime
}

// providerName is as in the config. A name with a = could be that of another's dead letters.
var providerName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

func checkName(provider string) error {
	if !providerName.MatchString(provider) {
		return fmt.Errorf("%w: %q is no name of a provider", ErrNoStore, provider)
	}
	return nil
}

func (s *Spool) isOpen(provider string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[provider] != nil
}

// Letters are a provider's dead letters, oldest first, without their bodies; most is
// how many at most.
func (s *Spool) Letters(ctx context.Context, provider string, most int) (out []Letter, err error) {
	err = s.eachLetter(ctx, provider, func(l *Letter) (bool, error) {
		l.Body = nil
		out = append(out, *l)
		return len(out) < most, nil
	})
	return out, err
}

// eachLetter calls f for a provider's dead letters, oldest first, until it answers
// false.
func (s *Spool) eachLetter(ctx context.Context, provider string, f func(*Letter) (bool, error)) error {
	if err := checkName(provider); err != nil {
		return err
	}
	st, err := s.outJS.Stream(ctx, s.dead(provider))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %s", ErrNoStore, provider)
	}
	if err != nil {
		return fmt.Errorf("ask the store: %w", err)
	}
	for seq := uint64(1); ; {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(s.deadSubject(provider, "*")))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a dead letter: %w", err)
		}
		seq = m.Sequence + 1
		goOn, err := f(s.letter(provider, m))
		if err != nil || !goOn {
			return err
		}
	}
}

func (s *Spool) letter(provider string, m *jetstream.RawStreamMsg) *Letter {
	l := &Letter{Provider: provider, ID: strings.TrimPrefix(m.Subject, s.deadSubject(provider, "")), Died: m.Time, Body: m.Data, Error: m.Header.Get(errorHeader), seq: m.Sequence}
	l.Hook, _ = mux.HookByName(m.Header.Get(hookHeader))
	l.Time, _ = time.Parse(time.RFC3339Nano, m.Header.Get(timeHeader))
	l.Tries, _ = strconv.Atoi(m.Header.Get(triesHeader))
	if text, err := strconv.Unquote(l.Error); err == nil {
		l.Error = text
	}
	ev := mux.NewEvent(l.Hook, m.Data)
	l.Client, l.Topic = ev.Client(), ev.Topic()
	return l
}

// Letter is the dead letter with the id.
func (s *Spool) Letter(ctx context.Context, id string) (*Letter, error) {
	if err := uuid.Validate(id); err != nil {
		return nil, fmt.Errorf("%w: %q is no event's id", ErrNoLetter, id)
	}
	names := s.outJS.StreamNames(ctx)
	var found *Letter
	for name := range names.Name() {
		provider, dead, ok := s.providerOf(name)
		if !ok || !dead || found != nil {
			continue
		}
		st, err := s.outJS.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask the store: %w", err)
		}
		m, err := st.GetLastMsgForSubject(ctx, s.deadSubject(provider, id))
		if err == nil {
			found = s.letter(provider, m)
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, fmt.Errorf("read a dead letter: %w", err)
		}
	}
	if err := names.Err(); err != nil && found == nil {
		return nil, fmt.Errorf("ask the store: %w", err)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	return found, nil
}

// Retry has a dead letter delivered once more, behind what waits, under its id.
func (s *Spool) Retry(ctx context.Context, id string) error {
	l, err := s.Letter(ctx, id)
	if err != nil {
		return err
	}
	return s.retry(ctx, l)
}

// RetryAll does that with all dead letters that a provider has at this time, and says
// how many it were.
func (s *Spool) RetryAll(ctx context.Context, provider string) (int, error) {
	return s.allLetters(ctx, provider, s.retry)
}

// allLetters does f with all dead letters that a provider has at this time, and not with
// what dies meanwhile, maybe after it was tried again.
func (s *Spool) allLetters(ctx context.Context, provider string, f func(context.Context, *Letter) error) (n int, err error) {
	last, err := s.lastLetter(ctx, provider)
	if err != nil {
		return 0, err
	}
	err = s.eachLetter(ctx, provider, func(l *Letter) (bool, error) {
		if l.seq > last {
			return false, nil
		}
		if err := f(ctx, l); err != nil {
			return false, err
		}
		n++
		return true, nil
	})
	return n, err
}

// lastLetter is the place of a provider's newest dead letter.
func (s *Spool) lastLetter(ctx context.Context, provider string) (uint64, error) {
	if err := checkName(provider); err != nil {
		return 0, err
	}
	st, err := s.outJS.Stream(ctx, s.dead(provider))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%w: %s", ErrNoStore, provider)
	}
	if err != nil {
		return 0, fmt.Errorf("ask the store: %w", err)
	}
	return st.CachedInfo().State.LastSeq, nil
}

func (s *Spool) retry(ctx context.Context, l *Letter) error {
	// Not the event's id, whose repetition this would be; and the same for everyone who retries this letter.
	once := fmt.Sprint(l.ID, "-", l.seq)
	err := s.publish(ctx, s.subject(l.Provider), nats.Header{nats.MsgIdHdr: {once}, idHeader: {l.ID}, hookHeader: {l.Hook.String()}}, l.Body)
	if err != nil {
		return fmt.Errorf("store the event again: %w", err)
	}
	return s.drop(ctx, l)
}

// Drop removes a dead letter for good.
func (s *Spool) Drop(ctx context.Context, id string) error {
	l, err := s.Letter(ctx, id)
	if err != nil {
		return err
	}
	return s.drop(ctx, l)
}

func (s *Spool) drop(ctx context.Context, l *Letter) error {
	st, err := s.outJS.Stream(ctx, s.dead(l.Provider))
	if err == nil {
		if err = st.DeleteMsg(ctx, l.seq); err != nil {
			if _, gone := st.GetMsg(ctx, l.seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
				return nil // somebody else was first
			}
		}
	}
	if err != nil {
		return fmt.Errorf("remove a dead letter: %w", err)
	}
	return nil
}

// DropAll removes all dead letters that a provider has at this time for good, and says
// how many it were.
func (s *Spool) DropAll(ctx context.Context, provider string) (int, error) {
	return s.allLetters(ctx, provider, s.drop)
}

// DropOrphan removes all that is stored for a provider to whom nobody delivers it, and
// says how many events and dead letters it were.
func (s *Spool) DropOrphan(ctx context.Context, provider string) (n int, err error) {
	if err := checkName(provider); err != nil {
		return 0, err
	}
	dropped, err := s.beginDrop(provider)
	if err != nil {
		return 0, err
	}
	defer dropped()
	found := false
	for _, name := range []string{s.stream(provider), s.dead(provider)} {
		st, err := s.outJS.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil {
			found = true
			n += int(st.CachedInfo().State.Msgs)
			err = s.outJS.DeleteStream(ctx, name)
		}
		if err != nil {
			return n, fmt.Errorf("remove what is stored: %w", err)
		}
	}
	if !found {
		return 0, fmt.Errorf("%w: %s", ErrNoStore, provider)
	}
	return n, nil
}

// beginDrop keeps what is stored for a provider from being opened until dropped is
// called, unless it is open.
func (s *Spool) beginDrop(provider string) (dropped func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.queues[provider] != nil:
		return nil, fmt.Errorf("%w: %s is a provider of the config", ErrInUse, provider)
	case s.dropping[provider] != nil:
		return nil, fmt.Errorf("what is stored for %s is being removed already", provider)
	}
	over := make(chan struct{})
	s.dropping[provider] = over
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dropping, provider)
		close(over)
	}, nil
}
