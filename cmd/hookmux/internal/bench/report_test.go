package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSVGIsWellFormed(t *testing.T) {
	t.Parallel()
	four := func(values ...float64) *plot {
		p := newPlot("p", `Throughput <by> "plugins" & more`, "x & y", "direct")
		for i := range values {
			p.X = append(p.X, strconv.Itoa(i))
		}
		for i := range p.Series {
			p.Series[i].Values = values
		}
		return p
	}
	for name, p := range map[string]*plot{
		"rising": four(1, 20, 300, 4000, 52_345), "one point": four(7), "none measured": four(0, 0), "no points": four(),
	} {
		for _, log := range []bool{false, true} {
			p.LogY = log
			svg := p.svg()
			d := xml.NewDecoder(bytes.NewReader(svg))
			circles := 0
			for {
				tok, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v\n%s", name, err, svg)
				}
				el, ok := tok.(xml.StartElement)
				if !ok || el.Name.Local != "circle" {
					continue
				}
				circles++
				for _, a := range el.Attr {
					v, err := strconv.ParseFloat(a.Value, 64)
					if (a.Name.Local == "cx" && (v < plotLeft || v > plotWidth-plotRight)) ||
						(a.Name.Local == "cy" && (v < plotTop || v > plotTop+plotAreaH)) || a.Name.Local == "cx" && err != nil {
						t.Errorf("%s: a point is outside: %s = %s", name, a.Name.Local, a.Value)
					}
				}
			}
			if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
				t.Errorf("%s: no numbers in\n%s", name, svg)
			}
			if name == "rising" && circles != 4*5 {
				t.Errorf("%d points are shown, want 20", circles)
			}
		}
	}
}

func TestNumbersOfTheAxes(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 0.5: "0.5"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]float64{0.3: 0.5, 1: 1, 1.1: 2, 2.2: 2.5, 3: 5, 6: 10, 2400: 2500} {
		if got := niceStep(v); got != want {
			t.Errorf("niceStep(%v) = %v, want %v", v, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 64: "64", 1 << 10: "1K", 1000: "1k", 128 << 10: "128K", 1 << 20: "1M", 1_000_000: "1M"} {
		if got := short(n); got != want {
			t.Errorf("short(%d) = %s, want %s", n, got, want)
		}
	}
}

// A ratio is the median of its pairs; one that could not be measured has no
// line that a script could read as a value.
func TestReport(t *testing.T) {
	t.Parallel()
	r := ratios[0]
	var rounds []round
	for _, cpu := range []time.Duration{300, 100, 120} {
		of := func(cpu time.Duration) sample {
			s := newSample([]time.Duration{time.Microsecond})
			s.CPU, s.Elapsed = cpu, time.Millisecond
			return s
		}
		rounds = append(rounds, round{"direct": of(100), "1 plugin": of(cpu)})
	}
	o := &Options{Pairs: 3, Duration: time.Second}
	rep := newReport(o)
	rep.mode("notifications", "direct", rounds)
	rep.ratio(r, rounds)
	rep.failed(ratios[1], errors.New("events were lost\nmany"))
	rep.memory("hookmux", 20*mb, 10*mb)
	var out strings.Builder
	if err := rep.write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nratio " + r.name + " 1.200\n", "1.00 … 3.00", "MISSED", "events were lost\n", "NOTIFICATIONS", "20.0  ≤ 10"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "ratio "+ratios[1].name) {
		t.Errorf("a value without a measurement in\n%s", &out)
	}

	o.JSON = true
	out.Reset()
	if err := rep.write(&out); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || len(back.Ratios) != 2 || back.Ratios[0].Value != 1.2 {
		t.Errorf("%v: %s", err, &out)
	}
}

// Every ratio has its group, and the group all modes that it compares.
func TestTheTable(t *testing.T) {
	t.Parallel()
	for _, r := range ratios {
		found := 0
		for _, g := range groups {
			if g.name != r.group {
				continue
			}
			for _, m := range g.modes {
				for _, name := range r.modes {
					if m.name == name {
						found++
					}
				}
			}
		}
		if found != len(r.modes) {
			t.Errorf("%s: %d of its modes %q are in the group %q", r.name, found, r.modes, r.group)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := Options{Pairs: 1, Callers: 1, Duration: time.Second}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Options){
		"unknown name": func(o *Options) { o.Only = []string{"async1"} },
		"no pairs":     func(o *Options) { o.Pairs = 0 },
		"payload":      func(o *Options) { o.Payload = 4 << 20 },
		"protocol":     func(o *Options) { o.Protocol = 3 },
	} {
		o := good
		change(&o)
		if o.check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A ratio of a measurement that used no CPU time that the kernel could count has no value.
func TestTooShortAMeasurement(t *testing.T) {
	t.Parallel()
	rep := newReport(&Options{})
	for _, of := range []time.Duration{0, time.Second} {
		rep.ratio(ratios[0], []round{{"direct": {Events: 1, CPU: of}, "1 plugin": {Events: 1, CPU: of}}})
	}
	if rep.Ratios[0].Error == "" || rep.Ratios[1].Error != "" || rep.Ratios[1].Value != 1 {
		t.Errorf("%+v", rep.Ratios)
	}
	if _, err := json.Marshal(rep); err != nil {
		t.Error(err)
	}
}
