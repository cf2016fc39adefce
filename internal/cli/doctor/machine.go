package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// reapTime is how long an orphan may take to go; a process that reaps does it at once.
const reapTime = 3 * time.Second

// reaping makes an orphan and watches whether anybody reaps it. Where nobody does, each tool
// that has finished leaves a zombie.
func (e *examination) reaping(ctx context.Context) {
	const area = "machine"
	pid, err := orphan(ctx)
	if err != nil {
		e.skip(area, "processes", fmt.Sprintf("no shell to try it with: %v", err))
		return
	}
	deadline := time.Now().Add(reapTime)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			e.ok(area, "processes", "finished ones are reaped")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	first, _ := os.ReadFile("/proc/1/comm")
	e.warn(area, "processes", fmt.Sprintf("process 1 (%s) does not reap: finished tools stay as zombies", strings.TrimSpace(string(first))),
		"docker run --init; GitHub: options: --init; harmless in a job of minutes")
}

// orphan returns the number of a process that ends after the shell that has started it, which
// would reap it otherwise.
func orphan(ctx context.Context) (int, error) {
	wait, end, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer wait.Close()
	defer end.Close()
	shell := exec.CommandContext(ctx, "/bin/sh", "-c", "{ read -r line; } <&3 >/dev/null 2>&1 & echo $!")
	shell.ExtraFiles = []*os.File{wait}
	output, err := shell.Output()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(output)))
}

// temporaryFolder: gpg, rpm and signkit itself write there.
func (e *examination) temporaryFolder(context.Context) {
	const area = "machine"
	file, err := os.CreateTemp("", "signkit-doctor-")
	if err != nil {
		e.problem(area, "TMPDIR", err.Error(), "set TMPDIR to a folder that can be written; with docker run --read-only add --tmpfs /tmp")
		return
	}
	file.Close()
	os.Remove(file.Name())
	e.ok(area, "TMPDIR", os.TempDir())
}
