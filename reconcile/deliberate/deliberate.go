// Package deliberate lists mistakes that a test of the laws switches on, one at a time, to show that a law catches each.
package deliberate

// Deliberate are mistakes that a test of the laws switches on, one at a time, to prove
// that a law would catch it. No program sets any of them.
var Deliberate struct {
	DropMarkerCheck  bool  // every guest and archive is taken for ours
	IgnoreLocks      bool  // acts are sent to guests on which something runs
	RepeatLost       bool  // a write whose answer was lost is sent again at once
	SkipBlankRule    bool  // blanks are made where data exists
	RestoreBeside    bool  // a backup is restored beside volumes without a config
	TrustUnseen      bool  // what cannot be seen counts as absent
	IgnoreUnused     bool  // a new volume is made while an old one lies about
	PruneNewest      bool  // retention drops the newest archive
	TrustAmbiguous   bool  // of two entries for one archive that differ, the first is believed
	PruneAnyBirth    bool  // retention reaches into earlier births
	TwoDisruptive    bool  // guests are shut down beside each other
	RetryRollback    bool  // a rollback that was begun is begun again
	ClaimSuccess     bool  // a task that failed is written down as done
	TrustTask        bool  // what PVE says is done counts as done, unseen
	SkipIntent       bool  // acts are sent without a line
	SkipSync         bool  // a line is not on the disk when the act is sent
	PruneByVzdump    *bool // vzdump is let prune as the storage says
	NeverEqual       bool  // a key never compares as equal
	GiveUpTogether   bool  // one refusal ends the pass for all
	NoCure           bool  // held without saying what to do
	Unordered        bool  // the order of a plan is that of a map
	AnyTask          bool  // any task of the right kind is taken for ours
	IgnoreBudgets    bool  // two backups are made at once
	StartAmidBulk    bool  // guests are started while startall or stopall runs
	ForgetRestart    bool  // the next guest is disturbed before the last runs again
	KeepBudget       bool  // a creation keeps others from its storage for as long as it takes
	IgnoreHolds      bool  // what people hold is acted on
	ForgetBackups    bool  // an archive that is there counts for nothing
	IgnoreOtherAgent bool  // acts are sent beside those of an agent with another journal
	PlanOneStep      bool  // a plan tells what is ready and not what follows
	ForgetDeletions  bool  // a plan counts the deletions that are ready and not those that follow
	HideBlocked      bool  // what is blocked hides behind what is ready
}
