package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/proto/handshake"
)

// The modes in which a plugin makes trouble. They run at a third of the load
// that hookmux could bear, the same on both sides: at the full load what a
// caller waits is how many others wait, and says nothing about the plugin.
const partOfFull = 1.0 / 3

// troubled is which of the four plugins makes trouble.
const troubled = 3

// fullRate is how many events per second s bears, found once for each name.
func (l *lab) fullRate(ctx context.Context, name string, s *system, ld load) (float64, error) {
	if r := l.rates[name]; r > 0 {
		return r, nil
	}
	ld.duration, ld.rate = warmUp, 0
	out, err := ld.run(ctx, s)
	if err != nil {
		return 0, err
	}
	if l.rates == nil {
		l.rates = make(map[string]float64)
	}
	l.rates[name] = out.perSecond()
	return out.perSecond(), nil
}

// slow has one plugin sleep in each event. Of the user's plugins it is a
// built-in one beside them, since they cannot be told to.
func slow(nap time.Duration) func(context.Context, *lab, time.Duration) (sample, error) {
	return slowAmong((*lab).withSlow, notified, nap)
}

// slowAmong is slow with the last plugin of a system.
func slowAmong(system func(*lab, context.Context) (*system, error), change func(*load), nap time.Duration) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s, err := system(l, ctx)
		if err != nil {
			return sample{}, err
		}
		ld := l.load()
		change(&ld)
		decides := ld.kind[0].Valued()
		// A slow one's lane may overflow. And what watches decisions is told of them later than
		// their answers come.
		ld.lenient = nap > 0 || decides
		ld.strict = len(s.plugins) - 1
		full, err := l.fullRate(ctx, fmt.Sprintf("%s %v", s.name, ld.kind), s, ld)
		if err != nil {
			return sample{}, err
		}
		ld.duration, ld.rate = d, full*partOfFull
		sleeper := s.plugins[len(s.plugins)-1]
		handled := &sleeper.notified
		if decides {
			handled = &sleeper.decided
		}
		before := handled.Load()
		sleeper.nap.Store(int64(nap))
		out, err := ld.run(ctx, s)
		sleeper.nap.Store(0)
		if err != nil {
			return out, err
		}
		return out, catchUp(ctx, s, handled, before+int64(out.Events))
	}
}

// withSlow is hookmux with four plugins, the last of which can be slow.
func (l *lab) withSlow(ctx context.Context) (*system, error) {
	if len(l.opts.Plugin) == 0 {
		return l.mux(ctx, 4)
	}
	const slot = -4 // beside those by number of plugins
	if s := l.muxes[slot]; s != nil {
		return s, nil
	}
	var slow system
	s, err := l.hookmux(ctx, 4, func(i int, p *providerConfig) {
		if i == troubled {
			l.builtIn(&slow, p)
		}
	})
	if err != nil {
		return nil, err
	}
	s.plugins = slow.plugins
	l.muxes[slot] = s
	return s, nil
}

// catchUp waits until the slow plugin has handled what waited for it: all,
// unless its lane was full and hookmux said so.
func catchUp(ctx context.Context, s *system, handled *atomic.Int64, want int64) error {
	last, since := handled.Load(), time.Now()
	for last < want {
		if !sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
		if now := handled.Load(); now != last {
			last, since = now, time.Now()
		}
		stuck := time.Since(since)
		if stuck > time.Second && s.roots[0].log.laneFull() {
			return nil
		}
		if stuck > callTimeout {
			return fmt.Errorf("%d events were lost on the way to the slow plugin", want-last)
		}
	}
	return nil
}

const (
	// crashSlice is how long a slice with a kill takes at least, and killAfter
	// when the kill comes.
	crashSlice = time.Second
	killAfter  = 200 * time.Millisecond
)

// crash kills one of four plugins once in every slice. Each pair has a hookmux
// of its own, since a plugin that crashes again and again is restarted later
// each time.
func crash(kill bool) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		ld := l.load()
		ld.kind = decisions
		s, err := l.forRound(ctx, kill, ld)
		if err != nil {
			return sample{}, err
		}
		full, err := l.fullRate(ctx, "decisions", s, ld)
		if err != nil {
			return sample{}, err
		}
		ld.duration, ld.rate = max(d, crashSlice), full*partOfFull
		if !kill {
			return ld.run(ctx, s)
		}
		ld.lenient, ld.strict = true, troubled
		killed := make(chan error, 1)
		go func() { killed <- killPlugin(ctx, s.roots[0].pid(), fmt.Sprintf("p%d", troubled)) }()
		out, err := ld.run(ctx, s)
		return out, errors.Join(err, <-killed)
	}
}

// forRound is a hookmux with four plugins that is stopped after the round.
func (l *lab) forRound(ctx context.Context, kill bool, ld load) (*system, error) {
	if s := l.round4[kill]; s != nil {
		return s, nil
	}
	s, err := l.hookmux(ctx, 4, func(_ int, p *providerConfig) { p.OnFailure = "ignore" })
	if err != nil {
		return nil, err
	}
	if l.round4 == nil {
		l.round4 = make(map[bool]*system)
	}
	l.round4[kill] = s
	ld.duration = warmUp
	_, err = ld.run(ctx, s)
	return s, err
}

// endRound stops what forRound has started.
func (l *lab) endRound() {
	for _, s := range l.round4 {
		s.stop()
	}
	clear(l.round4)
}

// killPlugin kills a plugin of hookmux in a moment.
func killPlugin(ctx context.Context, hookmux int, name string) error {
	if !sleep(ctx, killAfter) {
		return ctx.Err()
	}
	pid, err := findPlugin(hookmux, name)
	if err != nil {
		return fmt.Errorf("%w: hookmux has not restarted it within %s", err, crashSlice)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// findPlugin is the process of one of hookmux's plugins.
func findPlugin(hookmux int, name string) (pid int, err error) {
	for pid, p := range processes() {
		if p.parent == hookmux && hasEnv(pid, handshake.EnvName, name) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("plugin %s is not there", name)
}
