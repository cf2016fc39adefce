package artifact

import (
	"os"
	"testing"
)

// TestMain lets the programs of the JDK that tests and samples call start in half the time: without the compiler that pays for
// programs that run for long.
func TestMain(m *testing.M) {
	if os.Getenv("JAVA_TOOL_OPTIONS") == "" {
		os.Setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
	}
	os.Exit(m.Run())
}
