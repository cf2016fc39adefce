package notation

import (
	"slices"
	"strings"
	"testing"

	"signkit/internal/config"
)

func TestPluginConfigOverridesTheEnvironment(t *testing.T) {
	environ := []string{"PATH=/bin", "SIGNPATH_API_URL=https://old.example/Api", "SIGNPATH_API_TOKEN_FILE=/run/token"}
	for _, test := range []struct {
		name string
		set  map[string]string
		want []string
	}{
		{"nothing", nil, environ},
		{"variable", map[string]string{"SIGNPATH_API_URL": "u"}, []string{"PATH=/bin", "SIGNPATH_API_TOKEN_FILE=/run/token", "SIGNPATH_API_URL=u"}},
		{"property in another case", map[string]string{"apiurl": "u"}, []string{"PATH=/bin", "SIGNPATH_API_TOKEN_FILE=/run/token", "SIGNPATH_API_URL=u"}},
		{"token replaces its file", map[string]string{"ApiToken": "t"},
			[]string{"PATH=/bin", "SIGNPATH_API_URL=https://old.example/Api", "SIGNPATH_API_TOKEN=t"}},
		{"file replaces the token", map[string]string{"SIGNPATH_API_TOKEN_FILE": "/f"},
			[]string{"PATH=/bin", "SIGNPATH_API_URL=https://old.example/Api", "SIGNPATH_API_TOKEN_FILE=/f"}},
		{"old name of a setting", map[string]string{"SIGNPATH_TIMEOUTS_HTTP_REQUEST": "5"}, append(slices.Clone(environ), "SIGNPATH_TIMEOUTS_HTTP_REQUEST=5")},
		{"configuration file", map[string]string{"SIGNPATH_CONFIG_FILE": "/c"}, append(slices.Clone(environ), "SIGNPATH_CONFIG_FILE=/c")},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := withConfig(environ, test.set)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, test.want)
			}
		})
	}
}

func TestPluginConfigTakesEverySetting(t *testing.T) {
	for _, s := range config.Settings() {
		for _, name := range slices.Concat(s.Environment, s.JSON) {
			got, err := withConfig(nil, map[string]string{name: "v"})
			if err != nil || len(got) != 1 || !slices.Contains(s.Environment, strings.TrimSuffix(got[0], "=v")) {
				t.Errorf("%s becomes %q, %v", name, got, err)
			}
		}
	}
}

func TestPluginConfigThatIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		set  map[string]string
		want string
	}{
		"unknown": {map[string]string{"ApiUri": "x"}, "--plugin-config ApiUri: there is no such setting"},
		"twice":   {map[string]string{"ApiUrl": "x", "SIGNPATH_API_URL": "y"}, "--plugin-config ApiUrl and SIGNPATH_API_URL are the same setting"},
		"both token forms": {map[string]string{"ApiToken": "x", "SIGNPATH_API_TOKEN_FILE": "y"},
			"--plugin-config ApiToken and SIGNPATH_API_TOKEN_FILE are the same setting"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := withConfig(nil, test.set)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
