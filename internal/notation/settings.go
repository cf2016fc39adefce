package notation

import (
	"maps"
	"slices"
	"strings"

	"signkit/internal/config"
)

// tokenFile stands beside the token's own variables; the settings refuse both together.
const tokenFile = "SIGNPATH_API_TOKEN_FILE"

// withConfig lays --plugin-config over the environment. Its keys are the names of settings: of
// the environment variable or of the property in the configuration file, in any case.
func withConfig(environ []string, pluginConfig map[string]string) ([]string, error) {
	given := map[string]string{} // the key that set a variable
	for _, key := range slices.Sorted(maps.Keys(pluginConfig)) {
		names := variablesOf(key)
		if len(names) == 0 {
			return nil, invalid("--plugin-config %s: there is no such setting; its name is that of an environment variable or "+
				"of a property in the configuration file, for example SIGNPATH_API_URL or ApiUrl", key)
		}
		if other, taken := given[names[0]]; taken {
			return nil, invalid("--plugin-config %s and %s are the same setting", other, key)
		}
		given[names[0]] = key
		environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
			name, _, _ := strings.Cut(entry, "=")
			return slices.Contains(names, name)
		})
		environ = append(environ, variableFor(key, names)+"="+pluginConfig[key])
	}
	return environ, nil
}

// variablesOf lists the environment variables of the setting that key names, all of which give
// way to it; none if there is no such setting.
func variablesOf(key string) []string {
	same := func(name string) bool { return strings.EqualFold(name, key) }
	for _, s := range config.Settings() {
		isToken := slices.Contains(s.Environment, "SIGNPATH_API_TOKEN")
		if slices.ContainsFunc(s.Environment, same) || slices.ContainsFunc(s.JSON, same) || isToken && same(tokenFile) {
			if isToken {
				return append(slices.Clone(s.Environment), tokenFile)
			}
			return s.Environment
		}
	}
	if i := slices.IndexFunc(config.EnvironmentNames(), same); i >= 0 {
		return config.EnvironmentNames()[i : i+1]
	}
	return nil
}

// variableFor is the variable that gets the value: the one that was named, or the setting's first.
func variableFor(key string, names []string) string {
	for _, name := range names {
		if strings.EqualFold(name, key) {
			return name
		}
	}
	return names[0]
}
