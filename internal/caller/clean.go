package caller

import "strings"

// CleanCommandLine joins the arguments (the first is the program) with spaces.
func CleanCommandLine(args []string) string { return strings.Join(args, " ") }

func commandLine(pid int, redact func(string) string) string { return "" }
func userName(pid int) string                                { return "" }
func osVersion() string                                      { return "" }
func architecture() string                                   { return "" }
