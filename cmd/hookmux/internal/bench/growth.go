package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// What throughput is measured against.
var (
	growPlugins = []int{1, 2, 4, 8, 16}
	growCallers = []int{1, 4, 16, 64, 256, 1024}
	growPayload = []int{0, 64, 1 << 10, 16 << 10, 128 << 10, 1 << 20}
	growClients = []int{1, 10, 100, 1000, 10_000, 100_000, 1_000_000}
)

// growRoom is how much more memory hookmux may have after so many clients: not
// enough for anything that is kept of each.
const growRoom = 32 * mb

// growth measures throughput against one thing at a time.
func (l *lab) growth(ctx context.Context, rep *report) error {
	var errs []error
	for _, f := range []func(context.Context, *report) (*plot, error){l.byPlugins, l.byCallers, l.byPayload, l.byClients} {
		p, err := f(ctx, rep)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, p.errs...)
		rep.Growth = append(rep.Growth, *p)
		if l.opts.Plots == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(l.opts.Plots, p.Name+".svg"), p.svg(), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// newPlot has the four series that all plots of growth have.
func newPlot(name, title, xLabel, direct string) *plot {
	return &plot{
		Name: name, Title: title, XLabel: xLabel, YLabel: "events per second",
		Series: []series{
			{Name: "hookmux, notification"},
			{Name: "hookmux, message.publish", hue: 1},
			{Name: direct + ", notification", dashed: true},
			{Name: direct + ", message.publish", hue: 1, dashed: true},
		},
	}
}

// add measures one point of each series, in two turns. A point that fails is
// left out, and the plot's errors say why.
func (p *plot) add(ctx context.Context, l *lab, x string, behind, direct *system, change func(*load)) error {
	l.progress("%s: %s", p.Title, x)
	p.X = append(p.X, x)
	const turns = 2
	sums := make([]sample, len(p.Series))
	failed := make([]bool, len(p.Series))
	for range turns {
		for i, kind := range []func(*load){notified, decided, notified, decided} {
			s := behind
			if i > 1 {
				s = direct
			}
			ld := l.load()
			ld.duration /= turns
			kind(&ld)
			change(&ld)
			out, err := ld.run(ctx, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !errors.Is(err, errNoHook) {
				failed[i] = true
				p.errs = append(p.errs, fmt.Errorf("%s %s: %w", x, p.XLabel, err))
				continue
			}
			sums[i] = sums[i].plus(out)
		}
	}
	for i, s := range sums {
		v := 0.0
		if s.Events > 0 && !failed[i] {
			v = s.perSecond()
		}
		p.Series[i].Values = append(p.Series[i].Values, v)
	}
	return nil
}

func (l *lab) byPlugins(ctx context.Context, _ *report) (*plot, error) {
	p := newPlot("plugins", "Throughput by plugins", "plugins", "direct, in turn")
	one := func(n int) error {
		behind, err := l.hookmux(ctx, n, nil)
		if err != nil {
			return err
		}
		defer behind.stop()
		direct, err := l.directs(ctx, n)
		if err != nil {
			return err
		}
		for _, kind := range []func(*load){notified, decided} {
			warm := l.load()
			kind(&warm)
			warm.duration = warmUp
			if _, err := warm.run(ctx, behind); err != nil && !errors.Is(err, errNoHook) {
				return err
			}
		}
		return p.add(ctx, l, strconv.Itoa(n), behind, direct, func(*load) {})
	}
	for _, n := range growPlugins {
		if err := one(n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (l *lab) byCallers(ctx context.Context, _ *report) (*plot, error) {
	return l.along(ctx, newPlot("callers", "Throughput by callers", "callers at the same time", "direct"), growCallers, strconv.Itoa,
		func(ld *load, n int) { ld.callers = n })
}

func (l *lab) byPayload(ctx context.Context, _ *report) (*plot, error) {
	// As many as by default would have more bytes under way than this
	// measures: a queue, and timeouts.
	const callers = 16
	p := newPlot("payload", fmt.Sprintf("Throughput by payload, %d callers", callers), "bytes of payload", "direct")
	p.LogY = true
	return l.along(ctx, p, growPayload, short, func(ld *load, n int) { ld.payload, ld.callers = n, callers })
}

// byClients ends with an event of each of a million clients, after which
// hookmux must not have kept anything of them.
func (l *lab) byClients(ctx context.Context, rep *report) (*plot, error) {
	p, err := l.along(ctx, newPlot("clients", "Throughput by clients", "distinct client ids", "direct"), growClients, short,
		func(ld *load, n int) { ld.clients = n })
	if err != nil {
		return nil, err
	}
	s, err := l.mux(ctx, 1)
	if err != nil {
		return nil, err
	}
	before, err := memoryOf(s.roots[0].pid(), "VmRSS")
	if err != nil {
		return nil, err
	}
	rep.memory("hookmux, after many events of few clients", before, 0)
	clients := growClients[len(growClients)-1]
	l.progress("%s: an event of each of %d", p.Title, clients)
	ld := l.load()
	ld.kind, ld.clients, ld.events = notifications, clients, uint64(clients)
	if _, err := ld.run(ctx, s); err != nil && !errors.Is(err, errNoHook) {
		return nil, err
	}
	if !sleep(ctx, idleFor) {
		return nil, ctx.Err()
	}
	after, err := memoryOf(s.roots[0].pid(), "VmRSS")
	if err != nil {
		return nil, err
	}
	rep.memory(fmt.Sprintf("hookmux, after an event of each of %s clients", short(clients)), after, before+growRoom)
	return p, nil
}

// along measures hookmux with one plugin and a direct server at each x.
func (l *lab) along(ctx context.Context, p *plot, xs []int, label func(int) string, set func(*load, int)) (*plot, error) {
	behind, err := l.mux(ctx, 1)
	if err != nil {
		return nil, err
	}
	direct, err := l.directs(ctx, 1)
	if err != nil {
		return nil, err
	}
	for _, x := range xs {
		if err := p.add(ctx, l, label(x), behind, direct, func(ld *load) { set(ld, x) }); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// short is a number as an axis shows it: 64, 1K (1024), 10k (10,000), 1M.
func short(n int) string {
	for _, unit := range []struct {
		size int
		name string
	}{{1 << 20, "M"}, {1_000_000, "M"}, {1 << 10, "K"}, {1000, "k"}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.Itoa(n/unit.size) + unit.name
		}
	}
	return strconv.Itoa(n)
}
