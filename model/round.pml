/*
 * A snapshot round, for Spin: docs/PROTOCOL.md as a thing that can be explored.
 *
 * What is modelled is the code of package protocol, one step for each effect
 * that the world can see. The names in brackets are the functions there.
 *
 * Packets. The network loses, doubles, reorders and delays without limit, so all
 * that matters of a packet is its class: marked or not, sent before or after its
 * sender's instant. A class that a member has once sent may arrive at every other
 * member at any time, any number of times, or never. Members send all that they
 * can all the time. A finite number of states thus holds any number of packets.
 *
 * Messages. The same: what has been said may be heard at any later time, twice,
 * or never. What the coordinator has asked follows from the furthest phase that
 * its round has reached, so questions need no channel. That a message is lost
 * means that nobody happens to hear it; see "for ever" for the last word on that.
 *
 * Time. Ticks come at any moment; a process that does nothing between two of them
 * hangs. Durations are whole ticks. All deadlines of the code include their end
 * or begin at it, and for such systems whole ticks show every order of events
 * that real time can (Henzinger, Manna, Pnueli: What good are digital clocks?,
 * 1992). Clocks that differ in rate are not here; the simulator has them.
 *
 * For ever. Every step uses something up, so no execution is infinite (that there
 * is no cycle is checked as well). "A member is not shielded for ever" is then the
 * same as "it is not shielded where no step is left", which the end of Environment
 * looks at. Silence makes that a strong statement: from any state on, nobody may
 * hear anything any more, and nothing else may fail and so help.
 *
 * Switches (-D): BARRIER, FOREIGN, the bounds CRASHES and ROUNDS, CALM=n (nothing
 * disturbs round n and later ones; with STRAGGLERS, nothing but packets of the
 * round before), NO_SILENCE (a bound), COVER=n and ONLY=n (below), and the wrong
 * protocols WRONG_...
 */

#define N 3		/* members */
#define EVERYBODY 7	/* one bit for each */
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CRASHES
#define CRASHES 1	/* of agents; with one, it is member 0 that crashes, by symmetry */
#endif
#ifndef CALM
#define CALM 99
#endif

/* Deadlines in ticks. Da + Dc < Dg is all that is asked of them. */
#define Da 1
#define Dc 1
#ifdef WRONG_SHORT_GATE
#define Dg (Da + Dc)
#elif defined(WRONG_SHORT_PAUSE)
#define Dg Dc
#else
#define Dg (Da + Dc + 1)
#endif

/* Properties. Spin names the one that is violated by its number; -DONLY=number
 * looks at no other. */
#ifndef ONLY
#define ONLY 0
#endif
#define must(p, c) assert((c) || (ONLY && ONLY != p))
#define P_ORPHAN   101	/* no packet of a snapshot is received before it is sent */
#define P_WHOLE    102	/* a snapshot has every member's data, all of its round */
#define P_COMMITS  103	/* a round that nothing disturbs commits */
#define P_MARKED   104	/* no member is marked for ever, */
#define P_SHIELDED 105	/* or shielded, */
#define P_PAUSED   106	/* or paused, */
#define P_HELD     107	/* or held by a round */

/* States that must be reachable: -DCOVER=n makes the n-th an error. */
#ifndef COVER
#define COVER 0
#endif
#define saw(n)     if :: COVER == n -> covered = 1 :: else fi
#define never(n)   assert(COVER != n)
#define rare(n, c) assert(COVER != n || !(c))
#define C_COMMIT      1	/* a snapshot exists */
#define C_BOTH        2	/* two, one after the other */
#define C_TRANSIT     3	/* with a packet in transit */
#define C_EARLY       4	/* with a withheld packet that triggered an early cut */
#define C_EXPIRED     5	/* with a mark that its own deadline took off */
#define C_STRAGGLER   6	/* with a packet of the round before withheld */
#define C_AFTER_CRASH 7	/* after an agent had died in the round before */
#define C_AFTER_DEATH 8	/* after the coordinator had */
#define C_LATE        9	/* an instant past Dc is refused */
#define C_LEAK       10	/* a leak is refused */
#define C_ABORT_CUT  11	/* a round is aborted when a member has cut */
#define C_STALE      12	/* a restarted agent hears the Arm of its former life */
#define C_EXPIRED_DOWN 13	/* a rule outlives its agent, and ends */
#define C_GUARD      14	/* the guard lets a paused VM run */
#define C_SILENT_MARKED 15	/* silence falls while a member marks */
bit covered;

/* ---- the agents ---- */
#define IDLE    0
#define READY   1	/* gate open, rules off, counting */
#define ARMING  2	/* deadlines run, shield not up yet */
#define ARMED   3
#define CUTTING 4	/* has looked at the clock, mark not on yet */
#define MARKING 5	/* mark on, instant not reached */
#define TAKEN   6	/* the instant has passed, shield still up */
#define MARKED  7	/* shield off, storing */
#define OPEN    8	/* gate down, storing */
#define DOWN    9	/* the agent is dead and has left a gate behind */

byte state[N];
byte heard[N];		/* round that the agent is in or was in last */
byte life[N];		/* its incarnation */
bit stored[N];
byte cutLeft[N];	/* ticks in which it may still cut, Dc and the present one */
byte crashes;

/* ---- gates, VMs and what the repository holds ---- */
bit open[N];		/* a gate is attached, and counts */
bit mark[N];
bit shield[N];
bit leaked[N];
byte left[N];		/* ticks until the kernel (BARRIER: the guard) ends the rules */
bit paused[N];
byte data[N];		/* round of the data that the member has stored last */

#ifdef WRONG_RULES_WITHOUT_DEADLINE
#define marks(i)   (mark[i])
#define shields(i) (shield[i])
#else
#define marks(i)   (mark[i] && left[i] > 0)
#define shields(i) (shield[i] && left[i] > 0)
#endif

/* ---- the coordinator ---- */
#define PREPARE 1
#define ARM     2
#define CUT     3
#define DISARM  4	/* and STORE: it has no question of its own */
#define COMMITTED 1
#define ABORTED   2

byte now;			/* the present round; 0 before the first */
byte reached[ROUNDS + 1];	/* the furthest phase of each */
byte verdict[ROUNDS + 1];	/* what can be learnt about each: Commit or Abort */
byte taking[(ROUNDS + 1) * N];	/* the life whose Prepared was heard, and 1 */
byte armLeft;			/* ticks in which Armed counts, Da and the present one */
bit dead;			/* the coordinator has died, no successor yet */
bit silent;

/* What the members have said in the present round. */
byte prepared[N];	/* one bit for each life */
bit armed[N];
bit cut[N];
bit disarmed[N];
bit kept[N];

/* ---- packets, and what nobody in the protocol knows ---- */
byte markedBefore;	/* senders of marked packets from before their instants */
byte markedAfter;
byte plainAfter;
bit instant[N];		/* the member's local snapshot of the present round is made */
bit orphan;		/* a packet has gone back in time */
bit early;		/* COVER only */

#define me(i)          (1 << (i))
#define from(mask, j)  ((mask) & (EVERYBODY - me(j)))
#define post(j)        (from(markedBefore, j) || from(markedAfter, j))
#define all(a)         (a[0] && a[1] && a[2])
#define live           (now > 0 && !verdict[now] && !dead && !silent)
#define inLive(i)      (heard[i] == now && live)
#define phase          (reached[now])
#define told(i, p)     (!silent && reached[heard[i]] >= p && taking[heard[i] * N + i] == life[i] + 1)
#define disturbed      (now < CALM && !silent)

/* Nothing of the round before reaches a calm one, neither from the network nor
 * from a member that has not heard of the new round and marks. STRAGGLERS shows
 * what they do: gates count them, and the round is refused. */
#ifdef STRAGGLERS
#define timely(i) true
#else
#define timely(i) (now < CALM || heard[i] == now)
#endif

/* sends is what a member's VM puts on the network in its present state. */
#define sends(i) \
	if \
	:: paused[i] \
	:: else -> \
		if \
		:: marks(i) && instant[i]  -> markedAfter = markedAfter | me(i) \
		:: marks(i) && !instant[i] && timely(i) -> markedBefore = markedBefore | me(i) \
		:: !marks(i) && instant[i] -> plainAfter = plainAfter | me(i) \
		:: else \
		fi; \
		FOREIGN_COLOUR(i) \
	fi

/* A guest, or somebody outside the group, uses the codepoint for itself. */
#ifdef FOREIGN
#define FOREIGN_COLOUR(i) \
	if \
	:: now >= CALM \
	:: now < CALM && instant[i] -> markedAfter = markedAfter | me(i) \
	:: else -> markedBefore = markedBefore | me(i) \
	fi
#else
#define FOREIGN_COLOUR(i) skip
#endif

/* suffers notes what no gate sees: an unmarked packet from after its sender's
 * instant, or any such packet where no gate is open. */
#define suffers(j) \
	if \
	:: !instant[j] && !paused[j] && (from(plainAfter, j) || (!open[j] && from(markedAfter, j))) -> orphan = 1 \
	:: else \
	fi

/* world ends every step: what follows from it without anybody's doing. */
inline world() {
	sends(0); sends(1); sends(2);
	if
	:: live -> suffers(0); suffers(1); suffers(2)
	:: else
	fi;
	if
	:: all(instant) -> /* nothing can be an orphan any more */
		markedBefore = markedBefore | markedAfter; markedAfter = 0; plainAfter = 0
	:: else
	fi
}

/* over forgets what only the present round's verdict depends on. */
inline over() {
	markedBefore = markedBefore | markedAfter; markedAfter = 0; plainAfter = 0;
	orphan = 0; armLeft = 0; early = 0; data[0] = 0; data[1] = 0; data[2] = 0;
	prepared[0] = 0; prepared[1] = 0; prepared[2] = 0;
	armed[0] = 0; armed[1] = 0; armed[2] = 0;
	cut[0] = 0; cut[1] = 0; cut[2] = 0;
	disarmed[0] = 0; disarmed[1] = 0; disarmed[2] = 0;
	kept[0] = 0; kept[1] = 0; kept[2] = 0;
	instant[0] = 0; instant[1] = 0; instant[2] = 0
}

/* say is Send: it counts for as long as the round can use it. */
#ifdef WRONG_ANY_ROUND
#define heeds(i) live
#else
#define heeds(i) inLive(i)
#endif
#define say(what, i) if :: heeds(i) -> what[i] = 1 :: else fi

/* drop ends what the round has here [Drop, node's memberRunner.drop]. */
inline drop(i) {
	state[i] = IDLE; stored[i] = 0; cutLeft[i] = 0;
	open[i] = 0; mark[i] = 0; shield[i] = 0; leaked[i] = 0; left[i] = 0;
	paused[i] = 0
}

inline closeGate(i) {
	mark[i] = 0; shield[i] = 0; open[i] = 0; left[i] = 0; cutLeft[i] = 0; leaked[i] = 0;
	state[i] = OPEN;
	say(disarmed, i)
}

/* prepare adopts the VM and opens the gate with all rules off [Agent.prepare,
 * Agent.checked]. A round that was forgotten here is dropped first. */
inline prepare(i, r) {
	drop(i);
	heard[i] = r; state[i] = READY;
#ifndef BARRIER
	open[i] = 1;
#endif
	if
	:: inLive(i) && phase == PREPARE -> prepared[i] = prepared[i] | (1 << life[i])
	:: else
	fi
}

/* begin is the way into the cut [Agent.cut]. */
inline begin(i) {
	if
	:: cutLeft[i] == 0 -> never(C_LATE); drop(i)
	:: else -> state[i] = CUTTING
	fi
}

/* snapped is what follows the instant [Agent.snapped]. */
inline snapped(i) {
	if
#ifndef WRONG_NO_RECHECK
	:: cutLeft[i] == 0 -> never(C_LATE); drop(i)
#endif
#ifndef WRONG_NO_WITNESS
	:: leaked[i] -> never(C_LEAK); drop(i)
#endif
	:: else ->
		state[i] = MARKED; shield[i] = 0; cutLeft[i] = 0; leaked[i] = 0;
#ifdef WRONG_MARK_AFTER_RESUME
		mark[i] = 1;
#endif
#ifdef BARRIER
		left[i] = 0;
#endif
		say(cut, i)
	fi
}

proctype Agent(byte i) {
end:	do
	/* Prepare; an older one only in an agent that remembers nothing. A VM that a
	 * former life has paused is refused. */
	:: d_step { now > heard[i] && !silent && state[i] != DOWN && !(state[i] == IDLE && paused[i]) -> prepare(i, now); world() }
#if ROUNDS > 1
	:: d_step { now == 2 && heard[i] == 0 && !silent && state[i] != DOWN && !paused[i] -> prepare(i, 1); world() }
#endif

	/* Arm [Agent.arm]: the deadlines count from before the shield goes up. */
	:: d_step { state[i] == READY && told(i, ARM) ->
		state[i] = ARMING; cutLeft[i] = Dc + 1; left[i] = Dg; world() }
	:: d_step { state[i] == READY && !silent && reached[heard[i]] >= ARM && taking[heard[i] * N + i] != life[i] + 1 && CRASHES > 0 ->
		never(C_STALE);
#ifdef WRONG_NO_INCARNATION
		state[i] = ARMING; cutLeft[i] = Dc + 1; left[i] = Dg;
#else
		drop(i);	/* [Agent.stale]: refuses; its gate would have ended by TimerReady */
#endif
		world() }
	:: d_step { state[i] == ARMING ->
#ifdef BARRIER
		paused[i] = left[i] > 0;	/* [PauseVM]: the guard's time may be over */
#else
		shield[i] = 1;
#endif
		state[i] = ARMED; say(armed, i); world() }

	/* Cut, or a withheld packet [Agent.receive, Withheld]. */
	:: d_step { state[i] == ARMED && told(i, CUT) -> begin(i); world() }
#ifndef BARRIER
	:: d_step { state[i] == ARMED && shields(i) && post(i) ->
		if
		:: COVER == C_EARLY || (COVER == C_STRAGGLER && phase < CUT) -> early = 1
		:: else
		fi;
		begin(i); world() }
	:: d_step { state[i] == CUTTING ->
		state[i] = MARKING;
#ifndef WRONG_MARK_AFTER_RESUME
		mark[i] = 1;
#endif
#ifdef WRONG_SHIELD_OFF_EARLY
		shield[i] = 0;
#endif
		world() }
	:: d_step { state[i] == MARKING ->
		state[i] = TAKEN; instant[i] = inLive(i); world() }
#else
	:: d_step { state[i] == CUTTING -> /* a live capture: the VM runs on at once */
		state[i] = TAKEN; instant[i] = inLive(i); paused[i] = 0; world() }
	:: d_step { state[i] == CUTTING -> /* stop and copy: it runs when stored */
		state[i] = TAKEN; instant[i] = inLive(i); world() }
#endif
	:: d_step { state[i] == TAKEN -> snapped(i); world() }

	/* Disarm, or Dg [Agent.gateClosed, Agent.rang]. */
	:: d_step { state[i] == MARKED && told(i, DISARM) -> closeGate(i); world() }
#ifndef BARRIER
	:: d_step { state[i] == MARKED && left[i] == 0 ->
		if
		:: inLive(i) -> saw(C_EXPIRED)
		:: else
		fi;
		closeGate(i); world() }
#endif

	/* Store [Agent.kept]. */
	:: d_step { (state[i] == MARKED || state[i] == OPEN) && !stored[i] ->
		stored[i] = 1; data[i] = heard[i]; paused[i] = 0; say(kept, i); world() }

	/* The end: Commit, Abort [Agent.abort], TimerReady, TimerGate, TimerRelease. */
	:: d_step { stored[i] && !silent && verdict[heard[i]] == COMMITTED -> drop(i); world() }
	:: d_step { heard[i] > 0 && state[i] != IDLE && state[i] != DOWN && !silent && verdict[heard[i]] == ABORTED -> drop(i); world() }
	:: d_step { now > heard[i] && state[i] != DOWN && !silent && verdict[now] == ABORTED -> drop(i); heard[i] = now; world() }
	:: d_step { state[i] == READY && silent -> drop(i); world() }
#ifndef WRONG_NO_GATE_TIMER
	:: d_step { state[i] >= ARMING && state[i] <= TAKEN && left[i] == 0 -> drop(i); world() }
#endif
#ifdef BARRIER
	:: d_step { stored[i] && (disturbed || silent) -> drop(i); world() }
#else
	:: d_step { stored[i] && state[i] == OPEN && (disturbed || silent) -> drop(i); world() }
#endif

	/* Any failure, at any step: an effect that did not work, a VM that went away,
	 * a timer of seconds that ran out [Agent.refuse]. */
	:: d_step { state[i] != IDLE && state[i] != DOWN && disturbed -> drop(i); world() }

	/* The agent dies. A gate attached by tcx goes with it; one of a clsact filter
	 * stays until the next life removes it. A pause is the guard's business. */
	:: d_step { state[i] != DOWN && crashes < CRASHES && i <= crashes && disturbed ->
		crashes++; life[i]++; heard[i] = 0; stored[i] = 0; cutLeft[i] = 0; leaked[i] = 0;
		state[i] = IDLE; mark[i] = 0; shield[i] = 0; open[i] = 0;
		if
		:: paused[i]
		:: else -> left[i] = 0
		fi;
		world() }
#ifndef BARRIER
	:: d_step { open[i] && left[i] > 0 && state[i] != DOWN && crashes < CRASHES && i <= crashes && disturbed ->
		crashes++; life[i]++; heard[i] = 0; stored[i] = 0; cutLeft[i] = 0; leaked[i] = 0;
		state[i] = DOWN; world() }
	:: d_step { state[i] == DOWN && !silent -> drop(i); world() }
#elif !defined(WRONG_NO_GUARD)
	/* The guard [node's VM.Pause]. */
	:: d_step { paused[i] && (state[i] == IDLE || state[i] == READY || (left[i] == 0 && state[i] < TAKEN)) ->
		never(C_GUARD); paused[i] = 0;
		if
		:: state[i] < ARMING -> left[i] = 0
		:: else
		fi;
		world() }
#endif
	od
}

#ifdef WRONG_NO_ARM_BARRIER
#define allArmed true
#elif defined(WRONG_NO_ARM_LIMIT)
#define allArmed all(armed)
#else
#define allArmed (all(armed) && armLeft > 0)
#endif
#ifdef WRONG_NO_DISARMED
#define allDisarmed true
#else
#define allDisarmed all(disarmed)
#endif

/* forget takes out of the state what cannot matter any more. All agents have left
 * round r. Only one that dies yet could hear of it again, in a new life, to which
 * nothing of it is addressed. */
#define forget(r) \
	reached[r] = PREPARE; verdict[r] = ABORTED; \
	taking[r * N] = 0; taking[r * N + 1] = 0; taking[r * N + 2] = 0

proctype Coordinator() {
end:	do
	/* The next round [node's Coordinator.Take]. */
	:: d_step { now < ROUNDS && (now == 0 || verdict[now]) && !silent ->
		now++; reached[now] = PREPARE;
#ifndef STRAGGLERS
		if
		:: now >= CALM -> markedBefore = 0
		:: else
		fi;
#endif
		world() }

	/* PREPARE and PROBE to ARM: all are prepared, in some life [prepared]. */
	:: atomic { live && phase == PREPARE && all(prepared) ->
		if
		:: prepared[0] & 1 -> taking[now * N] = 1
		:: prepared[0] & 2 -> taking[now * N] = 2
		:: prepared[0] & 4 -> taking[now * N] = 3
		fi;
		if
		:: prepared[1] & 1 -> taking[now * N + 1] = 1
		:: prepared[1] & 2 -> taking[now * N + 1] = 2
		fi;
		taking[now * N + 2] = 1;
		d_step {
		reached[now] = ARM; armLeft = Da + 1;
		prepared[0] = 0; prepared[1] = 0; prepared[2] = 0;
		if
		:: now == 2 && COVER == 0 -> forget(1)
		:: else
		fi } }

	/* ARM to CUT: all are armed within Da [armed]; CutDone says no less. */
	:: d_step { live && phase == ARM && allArmed -> reached[now] = CUT; armLeft = 0; world() }
	:: d_step { live && phase == CUT && all(cut) -> reached[now] = DISARM; world() }

	/* DISARM, STORE and COMMIT: the record is written, or not, at one moment. */
	:: d_step { live && phase == DISARM && allDisarmed && all(kept) ->
		must(P_WHOLE, data[0] == now && data[1] == now && data[2] == now);
		must(P_WHOLE, all(instant));
		must(P_ORPHAN, !orphan);
		never(C_COMMIT); assert(!covered); assert(!early);
		rare(C_BOTH, now == 2 && verdict[1] == COMMITTED);
		rare(C_AFTER_CRASH, now == 2 && crashes > 0);
		verdict[now] = COMMITTED; over(); world() }

	/* Cancelled, Refused, Lost, a deadline, a record that cannot be written: all of
	 * them abort, and all may come at any time [startAbort]. */
	:: d_step { live && disturbed ->
		rare(C_ABORT_CUT, phase == CUT && cut[0]);
		verdict[now] = ABORTED; over(); world() }

	/* It dies; its successor gives the round up [node's discardUnfinished]. */
	:: d_step { live && disturbed -> saw(C_AFTER_DEATH); dead = 1; over(); world() }
	:: d_step { dead && !silent -> dead = 0; verdict[now] = ABORTED; world() }
	od
}

/* Network delivers to a VM, past a gate that is open, what the shield does not
 * withhold. Withheld packets are in Agent, where they have a consequence. */
#define lets(j)     (open[j] && !shields(j) && state[j] >= READY && state[j] <= TAKEN)
#define letsBefore(j) (lets(j) && !leaked[j] && from(markedBefore, j))
#define letsAfter(j)  (lets(j) && from(markedAfter, j) && (!leaked[j] || (live && !instant[j] && !orphan)))
#define tick(c)       if :: c > 0 -> c = c - 1 :: else fi
#define receive(j)    leaked[j] = 1; if :: live && !instant[j] -> orphan = 1 :: else fi

/* Environment is all that belongs to nobody: the network, the time, silence, and
 * a judge that comes when no step is left. */
proctype Environment() {
	do
#ifndef BARRIER
	/* A gate that is open lets pass, and counts, what no shield withholds. What is
	 * withheld is in Agent, where it has a consequence. */
	:: d_step { letsBefore(0) -> leaked[0] = 1 }
	:: d_step { letsBefore(1) -> leaked[1] = 1 }
	:: d_step { letsBefore(2) -> leaked[2] = 1 }
	:: d_step { letsAfter(0) -> receive(0) }
	:: d_step { letsAfter(1) -> receive(1) }
	:: d_step { letsAfter(2) -> receive(2) }
	:: d_step { COVER == C_TRANSIT && !covered && live && instant[0] && from(markedBefore, 0) && !instant[1] -> covered = 1 }
#endif

	/* A tick, as long as some deadline is still to come. */
	:: d_step { (left[0] > 0 || left[1] > 0 || left[2] > 0 || armLeft > 0) && (now < CALM || silent) ->
		rare(C_EXPIRED_DOWN, state[0] == DOWN && mark[0] && left[0] == 1);
		tick(left[0]); tick(left[1]); tick(left[2]);
		tick(cutLeft[0]); tick(cutLeft[1]); tick(cutLeft[2]);
		tick(armLeft);
		world() }

#ifndef NO_SILENCE
	/* From now on nobody hears anybody, and nothing else goes wrong. */
	:: d_step { disturbed && now > 0 ->
		rare(C_SILENT_MARKED, marks(0));
		silent = 1; over() }
#endif

	:: timeout -> break
	od;
	skip;
	d_step {
	must(P_COMMITS, CALM > ROUNDS || silent || verdict[ROUNDS] == COMMITTED);
	must(P_MARKED, !marks(0) && !marks(1) && !marks(2));
	must(P_SHIELDED, !shields(0) && !shields(1) && !shields(2));
	must(P_PAUSED, !paused[0] && !paused[1] && !paused[2]);
	must(P_HELD, state[0] % DOWN == IDLE && state[1] % DOWN == IDLE && state[2] % DOWN == IDLE)
	}
}

init {
	atomic {
		world();
		run Agent(0); run Agent(1); run Agent(2);
		run Coordinator(); run Environment()
	}
}
