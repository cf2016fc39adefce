package cli

import (
	"context"
	"errors"
	"log/slog"

	"signkit/internal/agent"
	"signkit/internal/artifact"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/signpath"
)

// signAgent signs for the tools of a batch, which have no token: one client for all of them, and for each pair of hands
// sockets of its own, so that what comes through them is of the file at hand.
type signAgent struct {
	agent   *agent.Agent
	environ []string // of tools, but for the sockets
	log     func() error
	serving context.Context
	stop    func()
	ends    []func() error
}

// startSignAgent makes the agent, with these keys and no others.
func (a *app) startSignAgent(ctx context.Context, keys ...*signpath.Key) (*signAgent, error) {
	client, err := a.agentClient()
	if err != nil {
		return nil, err
	}
	environ, err := a.agentEnvironment()
	if err != nil {
		return nil, err
	}
	logger, closer, err := a.toolLog()
	if err != nil {
		a.ui.warning("%v", err)
	}
	var names []string
	for _, key := range keys {
		if key != nil {
			names = append(names, key.ID())
		}
	}
	s := &signAgent{log: closer}
	s.environ = without(without(a.withoutCredentials(environ, a.settings), config.AgentVariable), config.EventsVariable)
	s.agent = agent.New(agent.Options{Config: a.settings, Client: client, Logger: logger, Redact: a.ui.redactor.Redact, Keys: names,
		Record: event.Append(a.settings.Events, 0, logger)})
	s.serving, s.stop = context.WithCancel(context.WithoutCancel(ctx)) // tools end first, and may still sign
	return s, nil
}

// toolLog is the log that a token process of each tool would write.
func (a *app) toolLog() (*slog.Logger, func() error, error) {
	log := a.settings.Log
	logger, closer, err := logging.New(logging.Options{ConsoleLevel: log.ConsoleLevel, Console: a.ui.stderr,
		FileLevel: log.FileLevel, FileDirectory: log.FileDirectory, Interface: "Cryptoki", Redactor: a.ui.redactor})
	return logger, closer.Close, err
}

// serve makes the sockets for one pair of hands, and gives the environment of its tools.
func (s *signAgent) serve(events *artifact.Events) (environ []string, err error) {
	sockets, err := agent.ListenPrivate()
	if err != nil {
		return nil, err
	}
	sockets.Record = events.Record
	ended := make(chan error, 1)
	go func() { ended <- s.agent.Serve(s.serving, sockets) }()
	s.ends = append(s.ends, func() error { return errors.Join(<-ended, sockets.Close()) })
	return append(s.environ[:len(s.environ):len(s.environ)], config.AgentVariable+"="+sockets.Path()), nil
}

// close ends the agent, and takes the sockets away.
func (s *signAgent) close() error {
	s.stop()
	var problems error
	for _, end := range s.ends {
		problems = errors.Join(problems, end())
	}
	return errors.Join(problems, s.log())
}
