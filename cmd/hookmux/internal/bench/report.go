package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the result of a run, also as JSON.
type report struct {
	opts *Options

	Version  string        `json:"version"`
	Machine  string        `json:"machine"`
	CPUs     int           `json:"cpus"`
	Plugin   string        `json:"plugin"`
	Protocol int64         `json:"protocol,omitempty"` // of the built-in plugin, or the one asked for
	Took     time.Duration `json:"took_ns"`
	Ratios   []ratioLine   `json:"ratios,omitempty"`
	Modes    []modeLine    `json:"modes,omitempty"`
	Memory   []memoryLine  `json:"memory,omitempty"`
	Growth   []plot        `json:"growth,omitempty"`
}

type ratioLine struct {
	Name    string    `json:"name"`
	What    string    `json:"what"`
	Value   float64   `json:"value"` // the median
	Pairs   []float64 `json:"pairs,omitempty"`
	Limit   float64   `json:"limit"`
	AtLeast bool      `json:"at_least,omitempty"`
	Met     bool      `json:"met"`
	Error   string    `json:"error,omitempty"` // then there is no value
}

// modeLine is the medians of one mode.
type modeLine struct {
	Group     string  `json:"group"`
	Mode      string  `json:"mode"`
	PerSecond float64 `json:"per_second"`
	CPU       float64 `json:"cpu_us"`
	Hookmux   float64 `json:"hookmux_us,omitempty"` // the part of CPU that is hookmux itself
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	Events    int     `json:"events"`
}

type memoryLine struct {
	What  string  `json:"what"`
	MB    float64 `json:"mb"`
	Limit float64 `json:"limit_mb,omitempty"`
}

func newReport(o *Options) *report {
	r := &report{opts: o, Version: o.Version, Machine: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Plugin: "built in"}
	if len(o.Plugin) > 0 {
		r.Plugin = strings.Join(o.Plugin, " ")
	}
	return r
}

// errTooShort is why a ratio has no value: the kernel counts CPU time in steps of 10 ms.
var errTooShort = errors.New("a measurement was too short to count its CPU time: raise --duration")

func (rep *report) ratio(r ratio, rounds []round) {
	line := ratioLine{Name: r.name, What: r.what, Limit: r.limit, AtLeast: r.atLeast}
	for _, one := range rounds {
		line.Pairs = append(line.Pairs, r.of(one))
	}
	line.Value = median(line.Pairs)
	if slices.ContainsFunc(line.Pairs, func(v float64) bool { return math.IsInf(v, 0) || math.IsNaN(v) }) {
		rep.failed(r, errTooShort)
		return
	}
	line.Met = line.Value <= r.limit
	if r.atLeast {
		line.Met = line.Value >= r.limit
	}
	rep.Ratios = append(rep.Ratios, line)
}

func (rep *report) failed(r ratio, err error) {
	rep.Ratios = append(rep.Ratios, ratioLine{Name: r.name, What: r.what, Limit: r.limit, AtLeast: r.atLeast, Error: err.Error()})
}

func (rep *report) mode(group, name string, rounds []round) {
	of := func(f func(s sample) float64) float64 {
		var v []float64
		for _, r := range rounds {
			v = append(v, f(r[name]))
		}
		return median(v)
	}
	line := modeLine{
		Group: group, Mode: name,
		PerSecond: of(sample.perSecond),
		CPU:       of(sample.cpuPerEvent) / 1000,
		Hookmux:   of(func(s sample) float64 { return float64(s.Hookmux) / float64(s.Events) / 1000 }),
		P50:       of(func(s sample) float64 { return float64(s.P50) / 1000 }),
		P99:       of(func(s sample) float64 { return float64(s.P99) / 1000 }),
	}
	for _, r := range rounds {
		line.Events += r[name].Events
	}
	rep.Modes = append(rep.Modes, line)
}

// memory adds a line, of bytes; without a limit it is 0.
func (rep *report) memory(what string, n, limit int64) {
	rep.Memory = append(rep.Memory, memoryLine{What: what, MB: float64(n) / mb, Limit: float64(limit) / mb})
}

func (rep *report) write(out io.Writer) error {
	if rep.opts.JSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	}
	fmt.Fprintf(out, "hookmux %s, %s, %d CPUs; plugin: %s", rep.Version, rep.Machine, rep.CPUs, rep.Plugin)
	if rep.Protocol > 0 {
		fmt.Fprintf(out, ", app protocol %d", rep.Protocol)
	}
	fmt.Fprintf(out, "; %d callers, %d bytes, %d × %s; took %s\n", rep.opts.Callers, rep.opts.Payload, rep.opts.Pairs, rep.opts.Duration, rep.Took.Round(time.Second))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	group := ""
	for _, m := range rep.Modes {
		if m.Group != group {
			group = m.Group
			fmt.Fprintf(w, "\n%s\tevents\tper second\tCPU µs\tof hookmux\tp50 µs\tp99 µs\t\n", strings.ToUpper(group))
		}
		own := ""
		if m.Hookmux > 0 {
			own = fmt.Sprintf("%.1f", m.Hookmux)
		}
		fmt.Fprintf(w, "  %s\t%d\t%.0f\t%.1f\t%s\t%.0f\t%.0f\t\n", m.Mode, m.Events, m.PerSecond, m.CPU, own, m.P50, m.P99)
	}
	_ = w.Flush()

	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(rep.Ratios) > 0 {
		fmt.Fprintf(w, "\nRATIO\tmedian\tmin … max\tmust be\t\twhat\n")
	}
	for _, r := range rep.Ratios {
		fmt.Fprintf(w, "  %s\n", strings.Join(r.columns(), "\t"))
	}
	_ = w.Flush()
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(rep.Memory) > 0 {
		fmt.Fprintf(w, "\nMEMORY\tMB\tmust be\t\n")
	}
	for _, m := range rep.Memory {
		must, met := "", ""
		if m.Limit > 0 {
			must, met = fmt.Sprintf("≤ %.0f", m.Limit), verdict(m.MB <= m.Limit)
		}
		fmt.Fprintf(w, "  %s\t%.1f\t%s\t%s\n", m.What, m.MB, must, met)
	}
	_ = w.Flush()
	for i := range rep.Growth {
		rep.Growth[i].table(out)
	}
	if len(rep.Ratios) > 0 {
		fmt.Fprintln(out)
	}
	for _, r := range rep.Ratios {
		if r.Error == "" {
			fmt.Fprintf(out, "ratio %s %.3f\n", r.Name, r.Value)
		}
	}
	return nil
}

func (r ratioLine) columns() []string {
	must := fmt.Sprintf("≤ %g", r.Limit)
	if r.AtLeast {
		must = fmt.Sprintf("≥ %g", r.Limit)
	}
	if r.Error != "" {
		why, _, _ := strings.Cut(r.Error, "\n")
		return []string{r.Name, "-", "", must, "none", why}
	}
	return []string{
		r.Name, fmt.Sprintf("%.2f", r.Value), fmt.Sprintf("%.2f … %.2f", slices.Min(r.Pairs), slices.Max(r.Pairs)),
		must, verdict(r.Met), r.What,
	}
}

func verdict(met bool) string {
	if met {
		return "ok"
	}
	return "MISSED"
}
