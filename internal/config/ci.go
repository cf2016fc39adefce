package config

import (
	"net/url"
	"strings"
	"unicode"
)

// system is one continuous integration system: how it names the job's page and the commit.
type system struct {
	job    func(env map[string]string) string
	needs  []string // variables without which there is no page
	commit string
}

func systems() []system {
	return []system{
		{ // GitLab
			needs:  []string{"CI_JOB_URL"},
			job:    func(env map[string]string) string { return env["CI_JOB_URL"] },
			commit: "CI_COMMIT_SHA",
		},
		{ // GitHub
			needs: []string{"GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"},
			job: func(env map[string]string) string {
				return env["GITHUB_SERVER_URL"] + "/" + env["GITHUB_REPOSITORY"] + "/actions/runs/" + env["GITHUB_RUN_ID"]
			},
			commit: "GITHUB_SHA",
		},
		{ // Azure Pipelines; the collection's URL ends in a slash
			needs: []string{"SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID"},
			job: func(env map[string]string) string {
				return strings.TrimSuffix(env["SYSTEM_COLLECTIONURI"], "/") + "/" + url.PathEscape(env["SYSTEM_TEAMPROJECT"]) +
					"/_build/results?buildId=" + url.QueryEscape(env["BUILD_BUILDID"])
			},
			commit: "BUILD_SOURCEVERSION",
		},
		{ // Jenkins
			needs:  []string{"BUILD_URL"},
			job:    func(env map[string]string) string { return env["BUILD_URL"] },
			commit: "GIT_COMMIT",
		},
	}
}

// ciVariables lists what readCI reads.
func ciVariables() []string {
	var list []string
	for _, s := range systems() {
		list = append(append(list, s.needs...), s.commit)
	}
	return list
}

// readCI returns what the first system says whose variables are complete. These values
// are nobody's settings: what cannot be used is left out without a word.
func readCI(env map[string]string) CI {
	for _, s := range systems() {
		if complete(env, s.needs) {
			return CI{JobURL: webLink(s.job(env)), Commit: oneLine(env[s.commit])}
		}
	}
	return CI{}
}

func complete(env map[string]string, names []string) bool {
	for _, name := range names {
		if env[name] == "" {
			return false
		}
	}
	return true
}

// webLink drops user name and password, which a link in an audit log must not show.
func webLink(s string) string {
	u, err := url.Parse(oneLine(s))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	u.User = nil
	return u.String()
}

// oneLine returns s unless it is too long or not printable.
func oneLine(s string) string {
	const longest = 2000
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(s) > longest || strings.ContainsFunc(s, unprintable) {
		return ""
	}
	return s
}
