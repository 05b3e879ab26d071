/*
 * Restores of a group, one after the other, for Spin: docs/PROTOCOL.md, "Restore".
 * round.pml says how packets, messages, time and "for ever" are modelled; it is
 * the same here. The names in brackets are functions of package protocol and of
 * package node.
 *
 * There are three hosts, each with one living member of the old timeline, 0, and
 * each to get one member of every restore: restore r begins timeline r. A host has
 * a machine for each restore [node's restoreRunner].
 *
 * What is modelled is the protocol as it should be. Some of the wrong variants have
 * been code, which is how they are known.
 *
 * Switches (-D): CRASHES, CALM (nothing goes wrong), COVER=n, WRONG_...
 */

#define N 3
#define RESTORES 2
#ifndef CRASHES
#define CRASHES 1	/* of agents: host 0's, by symmetry */
#endif

/* Ticks that a packet may be under way, and that a quarantine lasts. */
#define LIFETIME 1
#define QUARANTINE 1

/* Properties. Spin names the one that is violated by its number; -DONLY=number
 * looks at no other. */
#ifndef ONLY
#define ONLY 0
#endif
#define must(p, c) assert((c) || (ONLY && ONLY != p))
#define P_ABANDONED    201	/* no member gets a packet of a timeline that is over */
#define P_ONE_TIMELINE 202	/* members of two timelines never run together */
#define P_ALL_RUN      203	/* a restore that says so has all members running */
#define P_UNTOUCHED    204	/* a restore that is refused has touched nothing */
#define P_UNDONE       205	/* a restore that failed has left nothing */
#define P_WAITING      206	/* no member waits for ever to be let run, */
#define P_DEAF         207	/* or for packets */
#define P_RESTORES     208	/* a restore that nothing disturbs succeeds */

/* States that must be reachable: -DCOVER=n makes the n-th an error. */
#ifndef COVER
#define COVER 0
#endif
#define never(n)   assert(COVER != n)
#define rare(n, c) assert(COVER != n || !(c))
#define C_RESTORED      1	/* a group runs again */
#define C_TWICE         2	/* and is restored once more */
#define C_REFUSED       3	/* in PLAN */
#define C_UNDONE        4	/* after a member ran */
#define C_LAPSED        5	/* a loaded member is ended, nobody having opened it */
#define C_REBORN        6	/* an undo goes on with a restarted agent */
#define C_KEPT_OUT      7	/* a quarantine keeps a packet of the old timeline out */
#define C_OVERTAKEN     8	/* a restore begins while a host is busy with the one before */

#define host(r, h) ((r) * N + (h))
#define first(a, r)  a[host(r, 0)]
#define all(a, r)    (a[host(r, 0)] && a[host(r, 1)] && a[host(r, 2)])
#define allOr(a, r, b) ((a[host(r, 0)] || b[0]) && (a[host(r, 1)] || b[1]) && (a[host(r, 2)] || b[2]))

/* ---- virtual machines: one for each timeline and host ---- */
#define ABSENT 0
#define PAUSED 1
#define RUNS   2
byte vm[(RESTORES + 1) * N];
bit queued[N];		/* an old packet waits in the tap of a machine that does not run yet */
bit deaf[N];		/* a rule that nobody can lift keeps packets from the VM */

#define runs(t)  (vm[host(t, 0)] == RUNS || vm[host(t, 1)] == RUNS || vm[host(t, 2)] == RUNS)
#define empty(h) (vm[host(0, h)] == ABSENT && vm[host(1, h)] == ABSENT && vm[host(2, h)] == ABSENT)

/* ---- hosts ---- */
#define PLAN 1
#define STOP 2
#define LOAD 3
#define OPEN 4
#define UNDO 5
byte done[(RESTORES + 1) * N];	/* the phase that a machine has completed last */
bit busy[(RESTORES + 1) * N];	/* with LOAD, or UNDO; all else is done at once */
bit undoing[(RESTORES + 1) * N];
bit holds[(RESTORES + 1) * N];	/* it has loaded, and not let go yet */
byte newest[N];			/* the last restore that the host has been asked to plan */
byte life[N];
byte crashes;

/* What the hosts have said. */
bit planned[(RESTORES + 1) * N];
bit stopped[(RESTORES + 1) * N];
bit loaded[(RESTORES + 1) * N];
bit opened[(RESTORES + 1) * N];
bit undone[(RESTORES + 1) * N];

/* ---- the coordinator ---- */
byte now;			/* the present restore */
byte reached[RESTORES + 1];	/* PLAN, STOP, LOAD, OPEN: the furthest asked for */
bit undo[RESTORES + 1];		/* UNDO has been asked for */
byte planner[(RESTORES + 1) * N]; /* the life that its requests are meant for */
byte heir[RESTORES + 1];	/* host 0's new life that an UNDO is meant for */
bit lost[N];			/* hosts that the present restore has given up: host 0 */
bit running;			/* the present restore has not ended */
byte wait;
bit silent;

/* ---- packets under way: ticks until the last of each class is gone. The last
 * restore's are nobody's abandoned timeline. ---- */
byte plain[RESTORES];
byte restored[RESTORES];	/* with the codepoint of a quarantine */
byte quarantine[N];		/* ticks */
bit abandoned;			/* a member has got a packet of a timeline that is over */

#ifdef CALM
#define disturbed false
#else
#define disturbed (!silent)
#endif

#ifdef WRONG_NO_FENCE
#define current(r, h) true
#else
#define current(r, h) (newest[h] == r)
#endif
#define told(r, h) (!silent && planner[host(r, h)] == life[h] + 1 && current(r, h))
#define toldToUndo(r, h) (told(r, h) || (!silent && h == 0 && heir[r] == life[0] + 1 && current(r, h)))

#define sends(t) \
	if \
	:: emits(t, 0) || emits(t, 1) || emits(t, 2) -> plain[t] = LIFETIME \
	:: else \
	fi; \
	if \
	:: colours(t, 0) || colours(t, 1) || colours(t, 2) -> restored[t] = LIFETIME \
	:: else \
	fi
#ifdef WRONG_NO_QUARANTINE
#define emits(t, h)   (vm[host(t, h)] == RUNS)
#define colours(t, h) false
#define takes(t, h)   (plain[t] > 0)
#else
#define emits(t, h)   (vm[host(t, h)] == RUNS && (t == 0 || quarantine[h] == 0))
#define colours(t, h) (vm[host(t, h)] == RUNS && t > 0 && quarantine[h] > 0)
#define takes(t, h)   (restored[t] > 0 || (plain[t] > 0 && quarantine[h] == 0))
#endif
/* A machine that is loaded has a tap. One that is up before a shut fence stands
 * queues what arrives. */
#ifdef WRONG_TAP_UP
#define waits(h) \
	if \
	:: vm[host(1, h)] == PAUSED && plain[0] > 0 -> queued[h] = 1 \
	:: vm[host(2, h)] == PAUSED && (plain[0] > 0 || plain[1] > 0) -> queued[h] = 1 \
	:: (vm[host(1, h)] == RUNS || vm[host(2, h)] == RUNS) && queued[h] -> abandoned = 1 \
	:: else \
	fi
#else
#define waits(h) skip
#endif
#define suffers(h) \
	waits(h); \
	if \
	:: vm[host(1, h)] == RUNS && takes(0, h) -> abandoned = 1 \
	:: vm[host(2, h)] == RUNS && (takes(0, h) || takes(1, h)) -> abandoned = 1 \
	:: vm[host(1, h)] == RUNS && plain[0] > 0 && !takes(0, h) -> never(C_KEPT_OUT) \
	:: else \
	fi

/* world ends every step: what follows from it, and what must never be. */
inline world() {
	sends(0); sends(1);
	suffers(0); suffers(1); suffers(2);
	must(P_ABANDONED, !abandoned);
	must(P_ONE_TIMELINE, runs(0) + runs(1) + runs(2) <= 1)
}

/* say is RestoreSend: it counts for as long as the restore can use it. */
#define say(what, r, h) if :: running && now == r -> what[host(r, h)] = 1 :: else fi

inline kill(h) {
	vm[host(0, h)] = ABSENT; vm[host(1, h)] = ABSENT; vm[host(2, h)] = ABSENT;
	holds[host(1, h)] = 0; holds[host(2, h)] = 0; quarantine[h] = 0; deaf[h] = 0; queued[h] = 0
}

#ifdef WRONG_NO_FENCE
#define others(r, h) false
#define FENCED false
#elif defined(WRONG_NEVER_FREE)
#define others(r, h) (done[host(3 - (r), h)] != 0)
#define FENCED true
#else
#define others(r, h) (busy[host(3 - (r), h)])
#define FENCED true
#endif

#define going (running && !silent && !undo[now])
#define succeeded (vm[host(now, 0)] == RUNS && vm[host(now, 1)] == RUNS && vm[host(now, 2)] == RUNS)
#define untouched (vm[host(0, 0)] == RUNS && vm[host(0, 1)] == RUNS && vm[host(0, 2)] == RUNS)
#ifdef WRONG_NO_BARRIERS
#define allStopped first(stopped, now)
#define allLoaded  first(loaded, now)
#else
#define allStopped all(stopped, now)
#define allLoaded  all(loaded, now)
#endif

#define tick(c) if :: c > 0 -> c = c - 1 :: else fi

/* Time passes where that makes a difference: packets of those who send all the
 * time do not get fewer. */
#define ages ((plain[0] > 0 && !runs(0)) || (plain[1] > 0 && !emits(1, 0) && !emits(1, 1) && !emits(1, 2)) || \
	restored[1] > 0 || wait > 0 || quarantine[0] > 0 || quarantine[1] > 0 || quarantine[2] > 0)

#ifdef WRONG_STOP_AT_ONCE
#define MAY_STOP PLAN
#else
#define MAY_STOP STOP
#endif
#ifdef WRONG_UNDO_HELD_ONLY
#define endAll(r, h) if :: holds[host(r, h)] -> kill(h) :: else fi
#else
#define endAll(r, h) kill(h)
#endif

/* forget is the death of an agent, for one machine. What it had loaded is ended by
 * a guard; a quarantine goes on in the kernel. */
#ifdef WRONG_QUARANTINE_DIES
#define survives(h) quarantine[h] = 0
#else
#define survives(h) skip
#endif
inline forget(r, h) {
	survives(h);
	done[host(r, h)] = 0; busy[host(r, h)] = 0; undoing[host(r, h)] = 0; holds[host(r, h)] = 0
}

/* The machine of one restore at one host [RestoreAgent, node's restoreRunner]. */
proctype Machine(byte r; byte h) {
end:	do
	/* PLAN; a host that is busy with an older restore answers later. */
	:: d_step { reached[r] >= PLAN && !silent && done[host(r, h)] == 0 && newest[h] <= r && !others(r, h) ->
		done[host(r, h)] = PLAN; newest[h] = r;
		if
		:: r == 2 && FENCED -> done[host(1, h)] = 0
		:: else
		fi;
		say(planned, r, h);
		if
		:: r == now && running && planner[host(r, h)] == 0 -> planner[host(r, h)] = life[h] + 1
		:: else
		fi;
		world() }
	:: d_step { reached[r] >= MAY_STOP && told(r, h) && done[host(r, h)] == PLAN && !busy[host(r, h)] ->
		kill(h); done[host(r, h)] = STOP; say(stopped, r, h); world() }

	/* LOAD takes long. It fails if an instance is living, as it begins or when it
	 * is to start its own [checkFree]. */
	:: d_step { reached[r] >= LOAD && told(r, h) && done[host(r, h)] == STOP && !busy[host(r, h)] && empty(h) ->
		busy[host(r, h)] = 1; world() }
	:: d_step { busy[host(r, h)] && done[host(r, h)] == STOP && !undoing[host(r, h)] ->
		busy[host(r, h)] = 0;
		if
		:: empty(h) -> vm[host(r, h)] = PAUSED; holds[host(r, h)] = 1; done[host(r, h)] = LOAD; say(loaded, r, h)
		:: else
		fi;
		world() }

	/* Loaded and never opened: ended after a while [lapse]. */
	:: d_step { holds[host(r, h)] && (disturbed || silent) ->
		never(C_LAPSED);
		holds[host(r, h)] = 0;
		if
		:: vm[host(r, h)] == PAUSED -> vm[host(r, h)] = ABSENT
		:: else
		fi;
		world() }

	/* OPEN; when what was loaded is gone it fails, which has no effect but its answer
	 * and the coordinator's UNDO, possible at any time. */
	:: d_step { reached[r] >= OPEN && told(r, h) && done[host(r, h)] == LOAD && !busy[host(r, h)] && holds[host(r, h)] && vm[host(r, h)] == PAUSED ->
		vm[host(r, h)] = RUNS; holds[host(r, h)] = 0; quarantine[h] = QUARANTINE;
		done[host(r, h)] = OPEN; say(opened, r, h);
#ifdef WRONG_RULES_IN_SNAPSHOT
		deaf[h] = 1;
#endif
		world() }
#ifdef WRONG_LAPSE_UNSEEN
	:: d_step { reached[r] >= OPEN && told(r, h) && done[host(r, h)] == LOAD && !busy[host(r, h)] && !holds[host(r, h)] ->
		done[host(r, h)] = OPEN; say(opened, r, h); world() }
#endif

	/* UNDO ends every instance. */
	:: d_step { undo[r] && toldToUndo(r, h) && done[host(r, h)] >= PLAN && !busy[host(r, h)] && done[host(r, h)] != UNDO ->
		if
		:: vm[host(r, h)] == RUNS -> never(C_UNDONE)
		:: else
		fi;
		busy[host(r, h)] = 1; undoing[host(r, h)] = 1; world() }
	:: d_step { undoing[host(r, h)] ->
		endAll(r, h); busy[host(r, h)] = 0; undoing[host(r, h)] = 0; holds[host(r, h)] = 0;
		done[host(r, h)] = UNDO; say(undone, r, h); world() }
	od
}

#define unsay(h) \
	planned[host(now, h)] = 0; stopped[host(now, h)] = 0; loaded[host(now, h)] = 0; opened[host(now, h)] = 0; undone[host(now, h)] = 0

inline finish() {
	unsay(0); unsay(1); unsay(2);
	running = 0; lost[0] = 0; lost[1] = 0; lost[2] = 0
}

proctype Coordinator() {
end:	do
	:: d_step { now < RESTORES && !running && !silent ->
		rare(C_OVERTAKEN, now == 1 && busy[host(1, 0)]);
		now++; running = 1; reached[now] = PLAN; world() }

	/* PLAN, STOP, LOAD and OPEN, each when all hosts have done the one before
	 * [Restore.advance]. */
	:: d_step { going && reached[now] == PLAN && all(planned, now) -> reached[now] = STOP;
		if
		:: now == 2 && FENCED -> /* nothing of the first can be heard any more */
			reached[1] = PLAN; undo[1] = 0; heir[1] = 0; planner[host(1, 0)] = 0; planner[host(1, 1)] = 0; planner[host(1, 2)] = 0
		:: else
		fi;
		world() }
	:: d_step { going && reached[now] == STOP && allStopped ->
		reached[now] = LOAD;
#ifndef WRONG_REPEAT_AT_ONCE
		/* Packets of a restored timeline carry the codepoint that this one's
		 * quarantine lets pass: let them die first [Restore.settled]. The code
		 * leaves the wait out when nobody can have marked for a lifetime. */
		if
		:: now > 1 -> wait = LIFETIME
		:: else
		fi;
#endif
		world() }
	:: d_step { going && reached[now] == LOAD && allLoaded && wait == 0 -> reached[now] = OPEN; world() }
	:: d_step { going && reached[now] == OPEN && allOr(opened, now, lost) ->
		if
		:: !lost[0] && !lost[1] && !lost[2] ->
			must(P_ALL_RUN, succeeded);
			never(C_RESTORED);
			rare(C_TWICE, now == 2)
		:: else
		fi;
		finish(); world() }

	/* A refusal in PLAN; nothing has been touched. */
	:: d_step { going && disturbed && reached[now] == PLAN ->
		must(P_UNTOUCHED, now > 1 || untouched);
		never(C_REFUSED);
		finish(); world() }
	/* Any failure later [Restore.fail], a host that is lost among them. One that is
	 * lost in OPEN does not undo what the others do already. */
	:: d_step { going && disturbed && reached[now] > PLAN -> undo[now] = 1; wait = 0; world() }
	:: d_step { running && disturbed && reached[now] > PLAN && !lost[0] && (undo[now] || reached[now] == OPEN) -> lost[0] = 1; world() }

	/* UNDO: a host whose agent was restarted hears the plan first [reborn]. */
	:: d_step { running && undo[now] && !silent && life[0] + 1 != planner[host(now, 0)] && heir[now] == 0 ->
		heir[now] = life[0] + 1; never(C_REBORN); world() }
	:: d_step { running && undo[now] && !silent && allOr(undone, now, lost) ->
		must(P_UNDONE, lost[0] || (empty(0) && empty(1) && empty(2)));
		finish(); world() }

	/* The coordinator dies; nobody goes on with its restore. */
	:: d_step { running && disturbed -> wait = 0; finish(); world() }
	od
}

proctype Environment() {
	do
	/* The agent of host 0 dies. A load that was under way may leave its VM. */
	:: d_step { crashes < CRASHES && disturbed && now > 0 ->
		crashes++; life[0]++; newest[0] = 0;
		forget(1, 0); forget(2, 0); world() }
	:: d_step { crashes < CRASHES && disturbed && busy[host(1, 0)] && !undoing[host(1, 0)] && empty(0) ->
		crashes++; life[0]++; newest[0] = 0; vm[host(1, 0)] = PAUSED;
		forget(1, 0); forget(2, 0); world() }
	:: d_step { crashes < CRASHES && disturbed && busy[host(2, 0)] && !undoing[host(2, 0)] && empty(0) ->
		crashes++; life[0]++; newest[0] = 0; vm[host(2, 0)] = PAUSED;
		forget(1, 0); forget(2, 0); world() }
#ifndef WRONG_LOADED_UNGUARDED
	:: d_step { vm[host(1, 0)] == PAUSED && !holds[host(1, 0)] -> vm[host(1, 0)] = ABSENT; world() }
	:: d_step { vm[host(2, 0)] == PAUSED && !holds[host(2, 0)] -> vm[host(2, 0)] = ABSENT; world() }
#endif

	:: d_step { ages ->
		tick(plain[0]); tick(plain[1]);
		tick(restored[1]);
		tick(quarantine[0]); tick(quarantine[1]); tick(quarantine[2]);
		tick(wait);
		world() }

	:: d_step { disturbed && now > 0 -> silent = 1; finish(); world() }

	:: timeout -> break
	od;
	skip;
	d_step {
	must(P_WAITING, vm[host(1, 0)] != PAUSED && vm[host(1, 1)] != PAUSED && vm[host(1, 2)] != PAUSED);
	must(P_WAITING, vm[host(2, 0)] != PAUSED && vm[host(2, 1)] != PAUSED && vm[host(2, 2)] != PAUSED);
	must(P_DEAF, !deaf[0] && !deaf[1] && !deaf[2]);
#ifdef CALM
	must(P_RESTORES, succeeded && now == RESTORES);
#endif
	skip
	}
}

init {
	atomic {
		vm[host(0, 0)] = RUNS; vm[host(0, 1)] = RUNS; vm[host(0, 2)] = RUNS;
		d_step { world() };
		run Machine(1, 0); run Machine(1, 1); run Machine(1, 2);
		run Machine(2, 0); run Machine(2, 1); run Machine(2, 2);
		run Coordinator(); run Environment()
	}
}
