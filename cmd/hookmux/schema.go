package main

import (
	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/config"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of hookmux.yaml, for editors",
		Long: `schema prints a JSON Schema (draft 2020-12) of hookmux.yaml, with which an
editor completes keys, shows what they mean and marks mistakes. With
yaml-language-server (VS Code, Neovim, Helix and others), save it and begin the
config with:

  # yaml-language-server: $schema=hookmux.schema.json

"hookmux check" knows more: what the schema refuses, it refuses too.`,
		Example: `  hookmux schema > hookmux.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.JSONSchema())
			return err
		},
	}
}
