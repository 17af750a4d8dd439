package world

import "slices"

// Drop takes entries out of the ACL.
func (a *Access) Drop(gone func(ACLEntry) bool) {
	a.ACL = slices.DeleteFunc(slices.Clone(a.ACL), gone)
}

// User is the user of an ID; nil when there is none.
func (a *Access) User(id string) *User {
	for _, u := range a.Users {
		if u.ID == id {
			return u
		}
	}
	return nil
}

// Token is the token of an ID without the user's; nil when there is none.
func (u *User) Token(id string) *Token {
	for _, t := range u.Tokens {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// Access is user.cfg.
type Access struct {
	Users  []*User             `yaml:"users"`
	Roles  map[string][]string `yaml:"roles,omitempty"` // besides the built-in ones
	ACL    []ACLEntry          `yaml:"acl,omitempty"`
	Groups map[string][]string `yaml:"groups,omitempty"`
}

// A User is a user of user.cfg.
type User struct {
	ID       string   `yaml:"id"`
	Comment  string   `yaml:"comment,omitempty"`
	Email    *string  `yaml:"email,omitempty"`
	Password string   `yaml:"password,omitempty"`
	Disabled bool     `yaml:"disabled,omitempty"`
	Expire   int64    `yaml:"expire,omitempty"`
	Tokens   []*Token `yaml:"tokens,omitempty"`
}

// A Token is an API token of a user.
type Token struct {
	ID      string `yaml:"id"` // the part after the !
	Secret  string `yaml:"secret"`
	Full    bool   `yaml:"full,omitempty"` // without privilege separation
	Expire  int64  `yaml:"expire,omitempty"`
	Comment string `yaml:"comment,omitempty"`
}

// An ACLEntry is one line of the ACL: who has which role where.
type ACLEntry struct {
	Path string `yaml:"path"`
	Type string `yaml:"type"` // user, token, group
	ID   string `yaml:"id"`
	Role string `yaml:"role"`
	Here bool   `yaml:"here,omitempty"` // does not propagate
}
