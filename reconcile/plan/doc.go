// Package plan is the result of planning as plain data: actions that have not been sent yet, what is
// deferred and for what it waits, what is blocked and its fix, notes. The texts, the JSON, the journal and
// the tests are views of it. It imports package privileged and proxmox for the requests that an action
// holds, and can send none.
package plan
