// Lane tells the Makefile about lanes:
//
//	lane ready NAME…   the names of those that are there; the others, and how to
//	                   get them, on stderr. Status 1 if one is missing that must be there.
//	lane dir NAME      the folder that the lane is to be installed to
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx := context.Background()
	switch {
	case len(args) > 0 && args[0] == "ready":
		code := 0
		for _, name := range args[1:] {
			if _, err := lanes.Find(ctx, name); err != nil {
				fmt.Fprintln(stderr, "left out:", err)
				if lanes.AllRequired() {
					code = 1
				}
				continue
			}
			fmt.Fprintln(stdout, name)
		}
		return code
	case len(args) == 2 && args[0] == "dir":
		l, err := lanes.Locate(ctx, args[1])
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintln(stdout, l.Dir)
		return 0
	}
	fmt.Fprintln(stderr, "usage: lane ready NAME…, lane dir NAME")
	return 2
}
