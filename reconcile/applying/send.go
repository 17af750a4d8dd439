package applying

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"go.uber.org/zap"
)

// A sender writes the intent of an action into the journal, sends its request exactly once, and hands it to a waiter.
type sender struct{ *waiter }

// send sends what was chosen.
func (s *sender) send(ctx context.Context, p *passed, have *node.Observed) error {
	for _, action := range p.ready {
		if why, err := s.yields(ctx, action, have); err != nil {
			return err
		} else if why != "" {
			p.poll, p.busy, p.waits = true, append(p.busy, wait{action, why}), append(p.waits, wait{action, why})
			continue
		}
		atOnce, err := s.begin(ctx, p, action, have)
		if err != nil {
			return err
		}
		p.sent++
		if atOnce {
			p.atOnce++
		}
	}
	return nil
}

// begin journals an operation and sends it, exactly once.
func (s *sender) begin(ctx context.Context, p *passed, action *plan.Action, have *node.Observed) (atOnce bool, err error) {
	e := journal.Entry{Time: s.Clock(), Action: journal.NewAct(), Step: journal.StepIntent, ID: action.ID, Object: action.Object.String(), Verb: action.Verb, Text: action.Said(),
		Queue: action.Queue, Limit: action.Limit, Effect: action.Effect, Timeout: action.Timeout, Call: action.Call, Op: action.Op, Facts: action.Facts, Commit: p.plan.Header.Commit}
	if action.Call != nil {
		kind, id := TaskOf(action.Call)
		for _, t := range have.Tasks {
			if t.Type == kind && t.ID == id {
				e.Before = append(e.Before, t.UPID.String())
			}
		}
	}
	if err := s.O.Journal.Append(e); err != nil {
		return false, err
	}
	operation := s.O.Journal.Action(e.Action)
	operation.Sent = true
	if action.Op != nil {
		s.doOp(ctx, operation)
		return false, nil
	}
	upid, err := s.post(ctx, operation)
	guard, guarded := errors.AsType[*proxmox.GuardError](err)
	switch {
	case guarded:
		s.finish(ending{operation: operation, result: guardResult(guard), text: plainError(err), err: err})
	case err == nil && upid.IsZero() && action.Call.Async():
		s.finish(ending{operation: operation, result: journal.ResultRefused, text: "PVE found the guest no longer on this node: nothing was backed up"})
	case err == nil && !upid.IsZero():
		return false, s.began(ctx, operation, upid, "")
	case proxmox.IsOutcomeUnknown(err) || ctx.Err() != nil:
		s.loseSight(operation, err)
		return false, nil
	case proxmox.IsNotDelivered(err):
		s.finish(ending{operation: operation, result: journal.ResultUnsent, text: err.Error(), err: err})
	case proxmox.IsUnauthorized(err): // who may not write may not read either
		s.finish(refusal(operation, err))
	default:
		if ended := s.answered(ctx, operation, err); !ended {
			return false, nil
		}
	}
	return true, nil
}

// began notes the task that carries an operation out, and has it waited for.
func (s *sender) began(ctx context.Context, operation *journal.Operation, upid proxmox.UPID, text string) error {
	if err := s.O.Journal.Append(journal.Entry{Time: s.Clock(), Action: operation.Action, Step: journal.StepTask, UPID: upid}); err != nil {
		return err
	}
	s.tell(operation, "started", text)
	s.wait(ctx, operation, time.Time{})
	return nil
}

// loseSight leaves it to a later pass to find out what became of an operation.
func (s *sender) loseSight(operation *journal.Operation, err error) {
	operation.Lost = time.Now()
	s.log.Warn("the answer was lost", zap.String("object", operation.Object), zap.String("verb", operation.Verb), zap.Error(err))
	s.tell(operation, "waits", "its answer was lost; checking what became of it")
}

// refusal is how an operation ends whose call PVE has refused.
func refusal(operation *journal.Operation, err error) ending {
	switch {
	case proxmox.IsLocked(err):
		return ending{operation: operation, result: journal.ResultLocked, text: lockText(err), err: err}
	case proxmox.IsDigestConflict(err):
		return ending{operation: operation, result: journal.ResultLocked, text: "the configuration was changed in between; refreshed", err: err}
	}
	return ending{operation: operation, result: journal.ResultRefused, text: plainError(err), err: err}
}

// plainError is an error as people read it in a line.
func plainError(err error) string { return strings.TrimSpace(err.Error()) }

// doOp hands an operation to the root helper, outside of the write lock.
func (s *sender) doOp(ctx context.Context, operation *journal.Operation) {
	s.flights.begin(operation)
	s.tell(operation, "started", "via the root helper: "+operation.Op.String())
	s.O.Go(func() {
		e := ending{operation: operation, result: journal.ResultOK}
		limited, cancel := context.WithTimeout(ctx, operation.Timeout)
		defer cancel()
		result, err := s.O.Runner.Do(limited, *operation.Op, func(line string) { s.tell(operation, "running", line) })
		s.O.Client.Version(ctx) // the root helper has no clock of the node's: an answer of the API brings it
		var refused *privileged.RefusedError
		switch {
		case err == nil && result.StillRunning != nil, err != nil && limited.Err() != nil:
			s.flights.forget(operation, false) // the root helper goes on; its query Running tells when it ends
			s.flights.Nudge()
			return
		case err == nil:
			e.text = strings.Join(result.Notes, "; ")
		case errors.As(err, &refused) && refused.Busy: // somebody else acts on it
			e.result, e.text, e.err = journal.ResultLocked, plainError(err), err
		case errors.As(err, &refused):
			e.result, e.text, e.err = journal.ResultRefused, plainError(err), err
		default:
			e.result, e.text, e.err = journal.ResultFailed, plainError(err), err
		}
		s.finish(e)
	})
}

// answered judges a call that PVE has answered, with an error or without: an error says
// nothing about the effect. It is false where the operation goes on, or where nothing can be seen
// of it now.
func (s *sender) answered(ctx context.Context, operation *journal.Operation, answer error) (ended bool) {
	faster := proxmox.IsAlreadyRunning(answer) || proxmox.IsNotRunning(answer) // what was wanted may be so
	if operation.Call.Async() && !faster {
		return s.taskAnyway(ctx, operation, answer)
	}
	unseen := s.readBack(ctx, operation, dump{})
	_, missing := errors.AsType[*unseenError](unseen)
	switch {
	case unseen == nil && operation.Facts["sync"] != "":
		s.writeOutThenFinish(ctx, operation)
		return false
	case unseen == nil && answer == nil:
		s.finish(ending{operation: operation, result: journal.ResultOK})
	case unseen == nil && faster:
		s.finish(ending{operation: operation, result: journal.ResultOK, text: "it was changed in between: " + plainError(answer)})
	case unseen == nil:
		s.finish(ending{operation: operation, result: journal.ResultOK, text: "done, though PVE answered with an error: " + plainError(answer)})
	case answer != nil && missing:
		s.finish(refusal(operation, answer))
	case missing || !proxmox.IsTransient(unseen) && ctx.Err() == nil:
		s.finish(ending{operation: operation, result: journal.ResultFailed, text: plainError(unseen), err: unseen})
	default:
		s.loseSight(operation, unseen)
		return false
	}
	return true
}

// taskAnyway looks for the task of a call that PVE has answered with an error.
func (s *sender) taskAnyway(ctx context.Context, operation *journal.Operation, answer error) (ended bool) {
	tasks, _, err := s.O.Client.Tasks(ctx, s.O.Node, proxmox.TaskFilter{Source: "all", Since: operation.Time.Add(-2 * time.Second)})
	if err != nil {
		s.loseSight(operation, err)
		return false
	}
	upid, ok := Find(s.O.Journal, operation, &node.Observed{TokenID: s.O.TokenID, Tests: s.O.Tests, Tasks: tasks})
	if !ok {
		s.finish(refusal(operation, answer))
		return true
	}
	if err := s.began(ctx, operation, upid, "PVE answered with an error, and began it: "+plainError(answer)); err != nil { // the next pass finds it again
		s.loseSight(operation, err)
	}
	return false
}
