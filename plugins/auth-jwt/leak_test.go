package main

import (
	"testing"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { plugintest.Main(m, main) }
