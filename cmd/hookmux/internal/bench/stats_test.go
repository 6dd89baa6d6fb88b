package bench

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   []float64
		want float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 100}, 3},
	} {
		if got := median(tt.of); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("percentile %v of 1 to 100 is %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of none is %d", got)
	}
}

func TestSamplesArePutTogether(t *testing.T) {
	t.Parallel()
	a, b := newSample([]time.Duration{5, 1}), newSample([]time.Duration{3})
	a.Elapsed, a.CPU, b.Elapsed, b.CPU = time.Second, 10, time.Second, 20
	sum := sample{}.plus(a).plus(b)
	if sum.Events != 3 || sum.P50 != 3 || sum.P99 != 5 || sum.perSecond() != 1.5 || sum.cpuPerEvent() != 10 {
		t.Errorf("%+v, %v per second, %v CPU", sum, sum.perSecond(), sum.cpuPerEvent())
	}
}
