// Command matrix prints images/matrix.json for the shell.
//
//	matrix builds [TAG…]  what to build, everything or the tags named: a line each, its fields as in buildLine
//	matrix image SCENARIO NAME
//	                      the tag of the smallest image of NAME that has the scenario's tools
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"signkit/images"
)

func main() {
	text, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func run(args []string) (string, error) {
	list, err := images.All()
	if err != nil {
		return "", err
	}
	switch {
	case len(args) >= 1 && args[0] == "builds":
		return builds(list, args[1:])
	case len(args) == 3 && args[0] == "image":
		i, err := find(list, args[2])
		if err != nil {
			return "", err
		}
		return tagFor(i, args[1])
	}
	return "", errors.New("usage: matrix builds [TAG…] | image SCENARIO NAME")
}

func find(list []images.Image, name string) (images.Image, error) {
	for _, i := range list {
		if i.Name == name {
			return i, nil
		}
	}
	return images.Image{}, fmt.Errorf("images/matrix.json has no image %q", name)
}

func tagFor(i images.Image, scenario string) (string, error) {
	if v, ok := i.Variant(scenario); ok {
		return i.Tag(v) + "\n", nil
	}
	if why := i.Without[scenario]; why != "" {
		return "", fmt.Errorf("%s does not run on %s: %s", scenario, i.Name, why)
	}
	return "", fmt.Errorf("images/matrix.json names no scenario %q for %s", scenario, i.Name)
}

func builds(list []images.Image, tags []string) (string, error) {
	var lines strings.Builder
	var known []string
	for _, i := range list {
		for _, v := range images.Variants {
			known = append(known, i.Tag(v))
			if len(tags) == 0 || slices.Contains(tags, i.Tag(v)) {
				lines.WriteString(buildLine(i, v))
			}
		}
	}
	for _, tag := range tags {
		if !slices.Contains(known, tag) {
			return "", fmt.Errorf("images/matrix.json has no image %q; it has %s", tag, strings.Join(known, " "))
		}
	}
	return lines.String(), nil
}

// buildLine is TAG|NAME|VARIANT|FAMILY|PINS|CORE|FULL|JAVA|FROZEN|READ-WRITE|BUDGET|NOT-YET: the packages of smaller variants are
// part of larger ones, FROZEN and READ-WRITE are "true" or empty.
func buildLine(i images.Image, v images.Variant) string {
	fields := []string{i.Tag(v), i.Name, string(v), i.Family, i.Pins}
	wanted := true
	for _, w := range images.Variants {
		packages := i.Packages[w]
		if !wanted {
			packages = ""
		}
		fields = append(fields, packages)
		wanted = wanted && w != v
	}
	fields = append(fields, mark(i.Frozen), mark(i.ReadWriteSessions), fmt.Sprint(i.BudgetMB[v]), i.NotYet)
	return strings.Join(fields, "|") + "\n"
}

func mark(b bool) string {
	if b {
		return "true"
	}
	return ""
}
