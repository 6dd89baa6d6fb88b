package config

import "strconv"

// Tracing is where traces of events go. No Endpoint: nowhere.
type Tracing struct {
	Endpoint string
	Sample   int // of how many events one is traced
}

// DefaultTracingSample is Tracing.Sample by default.
const DefaultTracingSample = 100

func (t *Tracing) keys() []key {
	return []key{
		{name: "endpoint", required: true, doc: "what takes them, by OTLP over gRPC: https needs a certificate that the machine trusts",
			value: remoteURL(&t.Endpoint)},
		{name: "sample", def: strconv.Itoa(DefaultTracingSample), doc: "of how many events one is traced; 1 is all of them. What the broker itself traces is traced in any case",
			value: count(&t.Sample, 1, 1_000_000)},
	}
}
