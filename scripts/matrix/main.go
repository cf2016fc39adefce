// Command matrix prints the images of images/matrix.json for the shell: name, family and packages, separated by tabs.
//
//	matrix FILE [NAME…]
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

type image struct {
	Name     string `json:"name"`     // the tag, and what scripts/base-image.sh takes
	Family   string `json:"family"`   // the folder of its Dockerfile under images/
	Packages string `json:"packages"` // separated by spaces
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: matrix FILE [NAME…]")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var images []image
	if err := json.Unmarshal(text, &images); err != nil {
		fail(fmt.Errorf("%s: %w", os.Args[1], err))
	}
	for _, name := range os.Args[2:] {
		if !slices.ContainsFunc(images, func(i image) bool { return i.Name == name }) {
			fail(fmt.Errorf("%s has no image %q", os.Args[1], name))
		}
	}
	for _, i := range images {
		if len(os.Args) == 2 || slices.Contains(os.Args[2:], i.Name) {
			fmt.Printf("%s\t%s\t%s\n", i.Name, i.Family, i.Packages)
		}
	}
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, "matrix:", reason)
	os.Exit(1)
}
