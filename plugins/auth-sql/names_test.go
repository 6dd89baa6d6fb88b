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

// A query that also gives the name lets in who has just this one, whatever the database compares as equal.
func TestNameIsCompared(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		alter string
		users map[string]string // to the answer where the query gives no name
	}{
		"utf8mb4_bin":        {"MODIFY username VARCHAR(100) COLLATE utf8mb4_bin", map[string]string{"alice": "allow", "alice ": "allow", "ALICE": "deny"}},
		"utf8mb4_nopad_bin":  {"MODIFY username VARCHAR(100) COLLATE utf8mb4_nopad_bin", map[string]string{"alice": "allow", "alice ": "deny", "ALICE": "deny"}},
		"utf8mb4_general_ci": {"MODIFY username VARCHAR(100) COLLATE utf8mb4_general_ci", map[string]string{"alice": "allow", "ALICE ": "allow", "\u00e4lice": "allow"}},
		"INT":                {"MODIFY username INT", map[string]string{"7": "allow", "7abc": "allow", " 7": "allow", "07": "allow", "8": "deny"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := targets.MariaDB(t).URL
			db := fill(t, url)
			for _, s := range []string{
				"DELETE FROM mqtt_user WHERE username <> 'alice'", "UPDATE mqtt_user SET username = '7' WHERE '" + name + "' = 'INT'", "ALTER TABLE mqtt_user " + tt.alter,
			} {
				if _, err := db.Exec(s); err != nil {
					t.Fatal(err)
				}
			}
			_, plain := start(t, config{Database: url, Query: byName})
			_, byUser := start(t, config{Database: url, Query: "SELECT username, password_hash FROM mqtt_user WHERE username = :username"})
			_, byClient := start(t, config{Database: url, Query: "SELECT username AS clientid, password_hash FROM mqtt_user WHERE username = :clientid"})
			for user, want := range tt.users {
				c := client(user, secret)
				c.Clientid = user
				if got, err := plain(c); got != want || err != nil {
					t.Errorf("%q without its name: %s %v, want %s", user, got, err, want)
				}
				if user != "alice" && user != "7" {
					want = "deny"
				}
				for _, login := range []func(*sdk.ClientInfo) (string, error){byUser, byClient} {
					if got, err := login(c); got != want || err != nil {
						t.Errorf("%q: %s %v, want %s", user, got, err, want)
					}
				}
			}
		})
	}
}

// Another's row is no second one, and a name that is NULL is nobody's.
func TestRowsOfOthers(t *testing.T) {
	t.Parallel()
	url := databases["SQLite"](t)
	db := fill(t, url)
	addUser(t, db, "ALICE", hashOf("another"), false)
	if _, err := db.Exec("INSERT INTO mqtt_user (username, password_hash) VALUES (NULL, ?)", hashOf(secret)); err != nil {
		t.Fatal(err)
	}
	_, login := start(t, config{Database: url, Query: "SELECT * FROM mqtt_user WHERE lower(username) = lower(:username) OR username IS NULL"})
	for _, tt := range [][3]string{{"alice", secret, "allow"}, {"ALICE", "another", "allow"}, {"ALICE", secret, "deny"}, {"Alice", secret, "deny"}, {"", secret, "deny"}} {
		if got, err := login(client(tt[0], tt[1])); got != tt[2] || err != nil {
			t.Errorf("%s: %s %v, want %s", tt[0], got, err, tt[2])
		}
	}
}
