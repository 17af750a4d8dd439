package reconcile

// deliberate are mistakes that a test of the laws switches on, one at a time, to prove
// that a law would catch it. No program sets any of them.
var deliberate struct {
	dropMarkerCheck  bool  // every guest and archive is taken for ours
	ignoreLocks      bool  // acts are sent to guests on which something runs
	repeatLost       bool  // a write whose answer was lost is sent again at once
	skipBlankRule    bool  // blanks are made where data exists
	restoreBeside    bool  // a backup is restored beside volumes without a config
	trustUnseen      bool  // what cannot be seen counts as absent
	ignoreUnused     bool  // a new volume is made while an old one lies about
	pruneNewest      bool  // retention drops the newest archive
	pruneAnyBirth    bool  // retention reaches into earlier births
	twoDisruptive    bool  // guests are shut down beside each other
	retryRollback    bool  // a rollback that was begun is begun again
	claimSuccess     bool  // a task that failed is written down as done
	skipIntent       bool  // acts are sent without a line
	skipSync         bool  // a line is not on the disk when the act is sent
	pruneByVzdump    *bool // vzdump is let prune as the storage says
	neverEqual       bool  // a key never compares as equal
	giveUpTogether   bool  // one refusal ends the pass for all
	noCure           bool  // held without saying what to do
	unordered        bool  // the order of a plan is that of a map
	anyTask          bool  // any task of the right kind is taken for ours
	ignoreBudgets    bool  // two backups are made at once
	startAmidBulk    bool  // guests are started while startall or stopall runs
	forgetRestart    bool  // the next guest is disturbed before the last runs again
	keepBudget       bool  // a creation keeps others from its storage for as long as it takes
	ignoreHolds      bool  // what people hold is acted on
	forgetBackups    bool  // an archive that is there counts for nothing
	ignoreOtherAgent bool  // acts are sent beside those of an agent with another journal
}
