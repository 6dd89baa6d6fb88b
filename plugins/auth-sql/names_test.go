package main

import (
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// No name that a client may choose is an outage, whatever the database says of it: on_failure might
// let it in.
func TestNoNameIsAnOutage(t *testing.T) {
	t.Parallel()
	mariadb := func(t *testing.T) string { return targets.MariaDB(t).URL }
	postgres := func(t *testing.T) string { return targets.Postgres(t).URL }
	const where = "SELECT password_hash, is_superuser FROM mqtt_user WHERE "
	for name, tt := range map[string]struct {
		url          func(t *testing.T) string
		alter, query string
	}{
		"latin1":  {mariadb, "ALTER TABLE mqtt_user MODIFY username VARCHAR(100) CHARACTER SET latin1", byName},
		"ascii":   {mariadb, "ALTER TABLE mqtt_user MODIFY username VARCHAR(100) CHARACTER SET ascii", byName},
		"utf8mb3": {mariadb, "ALTER TABLE mqtt_user MODIFY username VARCHAR(100) CHARACTER SET utf8mb3", byName},
		"convert": {mariadb, "SELECT 1", where + "CONCAT(username, CONVERT('é' USING latin1)) = CONCAT(CONVERT(:username USING latin1), :clientid)"},
		"number":  {postgres, "ALTER TABLE mqtt_user ADD id bigint", where + "id = :username"},
		"uuid":    {postgres, "ALTER TABLE mqtt_user ADD id uuid", where + "id = :username::uuid"},
		"address": {postgres, "ALTER TABLE mqtt_user ADD id inet", where + "id = CAST(:username AS inet)"},
		"raised": {
			postgres, "CREATE FUNCTION knows(name text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'nobody has this name'; END$$",
			where + "knows(:username)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := tt.url(t)
			if _, err := fill(t, url).Exec(tt.alter); err != nil {
				t.Fatal(err)
			}
			p, denies := start(t, config{Database: url, Query: tt.query})
			_, ignores := start(t, config{Database: url, Query: tt.query, UnknownUser: "ignore"})
			for _, user := range []string{"mallory😀", "日本", "7 or so", "99999999999999999999", "", "é", "\u0080"} {
				if got, err := denies(client(user, secret)); got != "deny" || err != nil {
					t.Errorf("%q: %s %v", user, got, err)
				}
				if got, err := ignores(client(user, secret)); got != "ignore" || err != nil {
					t.Errorf("%q, unknown users ignored: %s %v", user, got, err)
				}
				if a, err := (superusers{p}).OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Clientinfo: client(user, "")}); a != sdk.NoOpinion || err != nil {
					t.Errorf("%q: rights %v %v", user, a, err)
				}
			}
		})
	}
}

// Nor is a row that is not clear, or one more: who logs in chooses the name.
func TestUnclearRows(t *testing.T) {
	t.Parallel()
	url := databases["SQLite"](t)
	db := fill(t, url)
	addUser(t, db, "alice", hashOf("another"), false)
	if _, err := db.Exec("UPDATE mqtt_user SET is_superuser = 'perhaps' WHERE username = 'root'"); err != nil {
		t.Fatal(err)
	}
	h := plugintest.RunWith(t, map[string]any{"database": url, "query": byName, "superusers": true, "unknown_user": "ignore"},
		"on_failure: {client.authenticate: ignore, client.authorize: ignore}")
	for _, login := range [][2]string{{"alice", secret}, {"alice", "another"}, {"root", secret}} {
		if got := plugintest.Verdict(h.Login(t, client(login[0], login[1]))); got != "deny" {
			t.Errorf("%s: %s", login[0], got)
		}
		if got := plugintest.Verdict(h.May(t, client(login[0], ""), sdk.Publish, "a")); got != "ignore" {
			t.Errorf("rights of %s: %s", login[0], got)
		}
	}
	h.Logs(t, "make the column unique")
	h.Logs(t, "neither true nor false")
}
