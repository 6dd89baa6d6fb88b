package bench

import (
	"context"
	"io"
)

type plot struct{}

func (plot) table(io.Writer) {}

func (l *lab) growth(context.Context, *report) error { return nil }
