// Package deliver sends one notification to one service: ntfy, Gotify, a web hook, a mail server, or a dead man's switch.
// What a server answers is hostile: it is bounded in size and time, no redirect is followed, and no error shows a secret.
package deliver
