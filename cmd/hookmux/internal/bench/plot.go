package bench

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// plot is a few series over the same x, which are evenly spaced: they grow by
// factors.
type plot struct {
	Name   string   `json:"name"` // of its file
	Title  string   `json:"title"`
	XLabel string   `json:"x_label"`
	YLabel string   `json:"y_label"`
	LogY   bool     `json:"log_y,omitempty"`
	X      []string `json:"x"`
	Series []series `json:"series"`

	errs []error // why points are missing
}

type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"` // one for each x; 0: there is none

	hue    int // index of hues
	dashed bool
}

func (p *plot) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\n  %s", strings.ToUpper(p.Title), p.XLabel)
	for _, s := range p.Series {
		fmt.Fprintf(w, "\t%s", s.Name)
	}
	fmt.Fprintln(w)
	for i, x := range p.X {
		fmt.Fprintf(w, "  %s", x)
		for _, s := range p.Series {
			if s.Values[i] == 0 {
				fmt.Fprint(w, "\t-")
				continue
			}
			fmt.Fprintf(w, "\t%.0f", s.Values[i])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// The picture's measures, in its own units.
const (
	plotWidth, plotHeight   = 760, 420
	plotLeft, plotRight     = 76, 24
	plotTop, plotBottom     = 96, 56
	plotAreaW, plotAreaH    = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	legendColumn, legendRow = 290, 20
)

// hues can be told apart by most people, on light and dark ground.
var hues = []string{"#3b82f6", "#f97316", "#10b981", "#a855f7"}

// svg draws the plot on whatever ground it is shown.
func (p *plot) svg() []byte {
	var b bytes.Buffer
	pr := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	text := html.EscapeString
	pr(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12">`,
		plotWidth, plotHeight, plotWidth, plotHeight)
	pr(`<title>%s: %s against %s</title>`, text(p.Title), text(p.YLabel), text(p.XLabel))
	pr(`<style>text{fill:#71808f}.g{stroke:#8b98a6;stroke-opacity:.3}.a{stroke:#8b98a6}@media (prefers-color-scheme:light){text{fill:#475569}.t{fill:#0f172a}}@media (prefers-color-scheme:dark){text{fill:#a3b1c6}.t{fill:#f1f5f9}}</style>`)
	pr(`<text class="t" x="%d" y="26" font-size="17" font-weight="600">%s</text>`, plotLeft, text(p.Title))
	for i, s := range p.Series {
		x, y := plotLeft+(i%2)*legendColumn, 50+(i/2)*legendRow
		pr(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2.5"%s/>`, x, y-4, x+28, y-4, hues[s.hue%len(hues)], s.dash())
		pr(`<text x="%d" y="%d">%s</text>`, x+36, y, text(s.Name))
	}

	ticks, place := p.scale()
	for _, t := range ticks {
		y := place(t)
		pr(`<line class="g" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, plotLeft, y, plotWidth-plotRight, y)
		pr(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, plotLeft-8, y+4, thousands(t))
	}
	pr(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`, plotTop+plotAreaH/2, text(p.YLabel))
	bottom := plotTop + plotAreaH
	pr(`<line class="a" x1="%d" y1="%d" x2="%d" y2="%d"/>`, plotLeft, bottom, plotWidth-plotRight, bottom)
	for i, x := range p.X {
		pr(`<line class="a" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, p.x(i), bottom, p.x(i), bottom+5)
		pr(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, p.x(i), bottom+20, text(x))
	}
	pr(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, plotLeft+plotAreaW/2, plotHeight-12, text(p.XLabel))

	for _, s := range p.Series {
		var points []string
		for i, v := range s.Values {
			if v > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", p.x(i), place(v)))
			}
		}
		pr(`<polyline fill="none" stroke="%s" stroke-width="2.5" stroke-linejoin="round"%s points="%s"/>`, hues[s.hue%len(hues)], s.dash(), strings.Join(points, " "))
		for _, at := range points {
			x, y, _ := strings.Cut(at, ",")
			pr(`<circle cx="%s" cy="%s" r="3.5" fill="%s"/>`, x, y, hues[s.hue%len(hues)])
		}
	}
	pr(`</svg>`)
	return b.Bytes()
}

func (s *series) dash() string {
	if s.dashed {
		return ` stroke-dasharray="6 5" stroke-opacity=".75"`
	}
	return ""
}

// x is where the point of p.X[i] is.
func (p *plot) x(i int) float64 {
	return plotLeft + (float64(i)+0.5)*plotAreaW/float64(len(p.X))
}

// scale is the values that the y axis shows, and where a value is.
func (p *plot) scale() (ticks []float64, place func(v float64) float64) {
	least, most := math.Inf(1), 0.0
	for _, s := range p.Series {
		for _, v := range s.Values {
			if v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most == 0 {
		least, most = 1, 1
	}
	if p.LogY {
		low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
		high = max(high, low+1)
		for d := low; d <= high; d++ {
			ticks = append(ticks, math.Pow(10, d))
		}
		return ticks, func(v float64) float64 {
			return plotTop + plotAreaH*(1-(math.Log10(v)-low)/(high-low))
		}
	}
	step := niceStep(most / 5)
	top := math.Ceil(most/step) * step
	for i := 0; float64(i)*step <= top+step/2; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks, func(v float64) float64 { return plotTop + plotAreaH*(1-v/top) }
}

// niceStep is the least of 1, 2, 2.5, 5 times a power of ten that is not below v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*power >= v*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// thousands is a number with commas.
func thousands(v float64) string {
	s := strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
	whole, part, found := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		return whole + "." + part
	}
	return whole
}
