package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"signkit/internal/gnupgtest"
	"signkit/internal/mockapi"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{gnupgtest.M{M: m}}, map[string]func(){"signkit": reaped(func() { os.Exit(Main()) })})
}

// tests run more scripts at a time than there are processors: they wait for agents, requests and programs that start.
type tests struct{ gnupgtest.M }

func (m tests) Run() int {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.NumCPU())); err != nil {
		panic(err)
	}
	if os.Getenv(sharedVariable) == "" {
		dir, err := os.MkdirTemp("", "signkit-scripts-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		os.Setenv(sharedVariable, dir)
	}
	return m.M.Run()
}

// sharedVariable names the folder of what all scripts share, also those that run once more in namespaces.
const sharedVariable = "SIGNKIT_TEST_SHARED"

// shared makes a file or folder when the first process needs it, and returns its path.
func shared(name string, make func(path string) error) (string, error) {
	path := filepath.Join(os.Getenv(sharedVariable), name)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting until %s is made: %w", name, err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	part := path + ".part"
	if err := errors.Join(os.RemoveAll(part), make(part)); err != nil {
		return "", err
	}
	return path, os.Rename(part, path)
}

// reapedVariable marks the process that is signkit; the one without it reaps.
const reapedVariable = "SIGNKIT_TEST_REAPED"

// reaped lets doctor run below a process that reaps what it leaves behind, as every process 1 should. Doctor waits to see that;
// what it says of a process 1 that does not is tested beside it.
func reaped(main func()) func() {
	return func() {
		if os.Getenv(reapedVariable) != "" || !slices.Contains(os.Args, "doctor") {
			os.Unsetenv(reapedVariable)
			main()
			return
		}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			panic(err)
		}
		child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
			Env: append(os.Environ(), reapedVariable+"=1"), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		})
		if err != nil {
			panic(err)
		}
		for {
			var status unix.WaitStatus
			if pid, err := unix.Wait4(-1, &status, 0, nil); pid == child.Pid {
				os.Exit(status.ExitStatus())
			} else if err != nil && err != unix.EINTR {
				panic(err)
			}
		}
	}
}

// TestScripts runs testdata/script: one file per behaviour, named VERB-WHAT.txtar. Each script
// has a service of its own (project demo, see internal/mockapi) that the SIGNPATH_ variables
// name, and no HOME. MOCK is the folder with the service's files, REPO the repository's root.
// Besides testscript's own commands:
//
//	fault JSON                    makes the service misbehave (mockapi.Fault, or a list of them)
//	requests [METHOD] [PATH] N    the service was sent N requests since the last such line (PATH: regular expression)
//	clear-requests                forgets them
//	exits CODE COMMAND…           like exec, but demands that exit code
//	eventually COMMAND…           runs COMMAND until it succeeds
//	document SCHEMA FILE          FILE, or stdout, is a JSON document as docs/schemas says
//	next-service                  lets the variables name a new service on the files of MOCK as they are now
//
// Scripts about gpg have the bridge in SIGNKIT_SCDAEMON and a TMPDIR of their own.
// The condition [built:NAME] asks whether build/NAME is there (make build).
// exits also demands that no token, right or wrong, is in a stream or in a file (see checkNoToken).
func TestScripts(t *testing.T) {
	keys := sync.OnceValues(func() (string, error) { return shared("keys", makeKeys) })
	bridge := sync.OnceValues(func() (string, error) { return shared(bridgeProgram, buildBridge) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           scriptCondition,
		Setup: func(env *testscript.Env) error {
			return errors.Join(setUpScript(env, keys), setUpGPG(env, bridge))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fault":          scriptFault,
			"requests":       scriptRequests,
			"clear-requests": func(ts *testscript.TestScript, _ bool, _ []string) { service(ts).ClearRequests() },
			"exits":          scriptExits,
			"eventually":     scriptEventually,
			"next-service":   scriptNextService,
			"document":       scriptDocument,
		},
	})
}

type serviceKey struct{}

func service(ts *testscript.TestScript) *mockapi.Server {
	return ts.Value(serviceKey{}).(*mockapi.Server)
}

// makeKeys fills a state folder with every key: making RSA keys for each script takes long.
func makeKeys(dir string) error {
	s, err := mockapi.Start(mockapi.Options{StateDir: dir})
	if err != nil {
		return err
	}
	return errors.Join(s.GenerateKeys(context.Background()), s.Close(context.Background()))
}

func setUpScript(env *testscript.Env, keys func() (string, error)) error {
	shared, err := keys()
	if err != nil {
		return err
	}
	state := filepath.Join(env.WorkDir, ".mock")
	if err := os.CopyFS(filepath.Join(state, "keys"), os.DirFS(filepath.Join(shared, "keys"))); err != nil {
		return err
	}
	s, err := mockapi.Start(mockapi.Options{StateDir: state})
	if err != nil {
		return err
	}
	env.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	env.Values[serviceKey{}] = s
	env.Vars = append(env.Vars, s.Environment()...)
	// With -race every program of ours would sleep for a second before it ends.
	env.Vars = append(env.Vars, "GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	root, err := filepath.Abs("../..")
	env.Setenv("MOCK", state)
	env.Setenv("REPO", root)
	env.Setenv("SECOND_TOKEN", s.SecondToken())
	return err
}

func scriptCondition(condition string) (bool, error) {
	name, ok := strings.CutPrefix(condition, "built:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	_, err := os.Stat(filepath.Join("../../build", name))
	return err == nil, nil
}

func scriptFault(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(setFaults(service(ts), strings.Join(args, " ")))
}

func scriptRequests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: requests [METHOD] [PATH] N")
	}
	want, err := strconv.Atoi(args[len(args)-1])
	ts.Check(err)
	method, path := "", regexp.MustCompile("")
	for _, arg := range args[:len(args)-1] {
		if arg == "GET" || arg == "POST" {
			method = arg
			continue
		}
		path = regexp.MustCompile(arg)
	}
	all := service(ts).Requests()
	count := 0
	for _, r := range all {
		if (method == "" || r.Method == method) && path.MatchString(r.Path) {
			count++
		}
	}
	if count != want {
		ts.Fatalf("%d requests instead of %d; all: %+v", count, want, all)
	}
	service(ts).ClearRequests()
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d instead of %s", code, args[0])
	}
	checkNoToken(ts)
}

func scriptNextService(ts *testscript.TestScript, _ bool, _ []string) {
	s, err := mockapi.Start(mockapi.Options{StateDir: ts.Getenv("MOCK")})
	ts.Check(err)
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	for _, entry := range s.Environment() {
		name, value, _ := strings.Cut(entry, "=")
		ts.Setenv(name, value)
	}
}

// scriptEventually waits for what another process does; the bound is only for a test that fails.
func scriptEventually(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still failing after 20 s: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestScriptsAreNamedAfterVerbs keeps the folder readable.
func TestScriptsAreNamedAfterVerbs(t *testing.T) {
	names := map[string]bool{"main": true}
	for _, cmd := range newRootCommand(newApp(nil, "/", nil, os.Stdout, os.Stderr)).Commands() {
		names[cmd.Name()] = true
	}
	files, err := fs.Glob(os.DirFS("testdata/script"), "*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		ok := false
		for name := range names {
			ok = ok || strings.HasPrefix(file, name+"-")
		}
		if !ok {
			t.Errorf("%s does not begin with a verb and a hyphen (or main-)", file)
		}
	}
}
