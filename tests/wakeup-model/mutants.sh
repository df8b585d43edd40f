#!/usr/bin/env bash
# Breaks the wake-up index in one place at a time and requires that the named model finds it. `mutants.sh NAME...` runs
# only these. A mutant is a replacement in server/hub/wakeup.rs, whose text must occur there exactly once: after a change of
# that file, change it here too.
#
# Left out, because no model can distinguish them from the original:
# - `notify` stores the flag instead of swapping it. With one publisher it may overwrite a newer `true`, but it notifies
#   that session next: the wait ends without a match, and the session parks again.
# - Relaxed instead of acquire and release for `wake_sequence` and for the swaps. The fences of `notify` and `park` carry the
#   protocol; a stale `wake_sequence` promises nothing, or what lies before the cursor.
# - `wake_sequence` stored after the notification: the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/wakeup-model}
export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-2}
# A mutant may also leave the model without an end.
model_seconds_max=120
source=server/hub/wakeup.rs
original=$(<$source)
only=" $* "
tree=$(mktemp -d "${TMPDIR:-/tmp}/wakeup-mutants.XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/server/hub" "$tree/server/model" "$tree/tests"
cp server/model/key.rs "$tree/server/model/"
cp -r tests/wakeup-model "$tree/tests/"
rm -rf "$tree/tests/wakeup-model/target"
found=0
survivors=()

# mutant NAME MODEL [FROM TO]...
mutant() {
    local name=$1 model=$2 text=$original log=$tree/log
    shift 2
    [[ $only == "  " || $only == *" $name "* ]] || return 0
    while (($#)); do
        local rest=${text#*"$1"}
        if [[ $rest == "$text" || $rest == *"$1"* ]]; then
            printf '%s: not found exactly once in %s:\n%s\n' "$name" "$source" "$1" >&2
            exit 2
        fi
        text=${text/"$1"/"$2"}
        shift 2
    done
    printf '%s\n' "$text" >"$tree/$source"
    local cargo=(cargo test --quiet --locked --manifest-path "$tree/tests/wakeup-model/Cargo.toml" --tests)
    if ! "${cargo[@]}" --no-run >"$log" 2>&1; then
        printf '%s: does not compile\n' "$name" >&2
        cat "$log" >&2
        exit 2
    fi
    local started=$SECONDS code=0
    timeout "$model_seconds_max" "${cargo[@]}" -- --exact "$model" >"$log" 2>&1 || code=$?
    # The line behind the place of the panic.
    local reason
    reason=$(awk '/panicked at/ { getline; sub(/;.*/, ""); print; exit }' "$log")
    # Without a panic it is no finding: a timeout, or a failure of cargo.
    if ((code == 0)) || [[ -z $reason ]]; then
        survivors+=("$name")
        printf 'SURVIVED  %-28s %s (exit code %d)\n' "$name" "$model" "$code"
        tail -n 20 "$log"
    else
        found=$((found + 1))
        printf 'found     %-28s %s: %s, %d s\n' "$name" "$model" "$reason" $((SECONDS - started))
    fi
}

# The session does not read the end of the log after it has set its flag.
mutant park_without_recheck no_lost_wakeup_between_notify_and_park \
    'if next() > cursor {' 'if next() > cursor && false {'

# The session reads the end of the log before it sets its flag.
mutant recheck_before_flag no_lost_wakeup_between_notify_and_park \
    'self.waiter.parked.store(true, Ordering::SeqCst);' 'let next = next();
        self.waiter.parked.store(true, Ordering::SeqCst);' \
    'if next() > cursor {' 'if next > cursor {'

# Weaker orderings: each side's store and the load behind it may be reordered.
mutant offer_without_fence no_lost_wakeup_between_notify_and_park \
    "// The entries are published before the flags are read: the other half of \`WaiterHandle::park\`.
        fence(Ordering::SeqCst);" ''
mutant offer_with_weaker_fence no_lost_wakeup_between_notify_and_park \
    "// The entries are published before the flags are read: the other half of \`WaiterHandle::park\`.
        fence(Ordering::SeqCst);" 'fence(Ordering::AcqRel);'
mutant park_without_fence no_lost_wakeup_between_notify_and_park \
    'self.waiter.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);' 'self.waiter.parked.store(true, Ordering::SeqCst);'
mutant offer_fence_after_wakeups no_lost_wakeup_between_notify_and_park \
    "// The entries are published before the flags are read: the other half of \`WaiterHandle::park\`.
        fence(Ordering::SeqCst);" '' \
    'drop(index);
        self.notified_up_to.store' 'drop(index);
        fence(Ordering::SeqCst);
        self.notified_up_to.store'

# A batch counts as notified_up_to before the sessions are woken for it.
mutant offered_before_wakeups heartbeat_during_notify_passes_no_match \
    'let mut woken = 0;' 'self.notified_up_to.store(last.sequence + 1, Ordering::Release);
        let mut woken = 0;'

# The promise covers batches that were notified_up_to after the flag was cleared.
mutant offered_read_after_flag heartbeat_during_notify_passes_no_match \
    'let notified_up_to = self.parked.notified_up_to.load(Ordering::Acquire);
        if self.waiter' 'if self.waiter' \
    'return Some(notified_up_to);' 'return Some(self.parked.notified_up_to.load(Ordering::Acquire));'

# The promise of the batch that woke the session covers records of that batch.
mutant woken_at_last_record batch_wakeup_passes_no_record_of_it \
    'waiter.wake_sequence.store(first.sequence' 'waiter.wake_sequence.store(last.sequence'

# The flag is loaded, not swapped, or stays: a session that reads is notified.
mutant unpark_loads_flag session_that_reads_is_not_woken \
    'if self.waiter.parked.swap(false, Ordering::AcqRel) {' 'if self.waiter.parked.load(Ordering::Acquire) {'
mutant refused_park_keeps_flag session_that_reads_is_not_woken \
    'self.waiter.parked.store(false, Ordering::SeqCst);' ''
mutant offer_loads_flag session_under_several_keys_is_woken_once \
    'if waiter.parked.load(Ordering::Relaxed) && waiter.parked.swap(false, Ordering::AcqRel) {' \
    'if waiter.parked.load(Ordering::Relaxed) {'

# The flag is cleared without a notification.
mutant wakeup_without_notify successive_batches_each_wake \
    'waiter.notify.notify_one();' 'if waiter.wake_sequence.load(Ordering::Acquire) == 1 { waiter.notify.notify_one(); }'

# Unregistering releases the lock between slot and lists, or does not acquire it for the lists.
mutant unregister_in_two_steps slot_reused_during_unregister_is_woken \
    'self.parked.index.lock().remove(self.slot, &self.keys);' 'self.parked.index.lock().waiters.remove(self.slot);
        self.parked.index.lock().for_each_list(&self.keys, |list| list.remove(self.slot));'

# A session that left stays in the lists.
mutant unregister_keeps_lists session_dropped_while_parked_is_forgotten \
    'self.parked.index.lock().remove(self.slot, &self.keys);' 'self.parked.index.lock().waiters.remove(self.slot);'

# The single waiter of a key and many of them; keys that are prefixes or rule ids; notices.
mutant second_waiter_replaces_first sessions_of_one_key_are_all_woken \
    'Self::Many([(first, other), (slot, waiter)].into())' '{ let _ = (first, other); Self::One(slot, waiter) }'
mutant one_of_many_woken sessions_of_one_key_are_all_woken \
    'waiters.values().for_each(' 'waiters.values().take(1).for_each('
mutant removal_empties_key unregister_during_notify_leaves_others_registered \
    'waiters.remove(&slot);' 'waiters.clear();'
mutant whole_tag_is_no_prefix every_kind_of_key_wakes \
    '(0..=tag.len())' '(1..=tag.len())'
mutant rule_ids_not_woken every_kind_of_key_wakes \
    'index.rules.get(&id).into_iter().for_each(&mut wake);' ''
mutant notice_wakes_by_key_only skip_wakes_sessions_of_all_keys \
    'if everybody {' 'if everybody && entries.len() > 1 {'

# The model of shuttle finds what needs no weak memory.
mutant random_park_without_recheck random_schedules_lose_no_wakeup \
    'if next() > cursor {' 'if next() > cursor && false {'
mutant priority_offered_before_wakeups priority_schedules_lose_no_wakeup \
    'let mut woken = 0;' 'self.notified_up_to.store(last.sequence + 1, Ordering::Release);
        let mut woken = 0;'
mutant random_unregister_in_two_steps random_schedules_lose_no_wakeup \
    'self.parked.index.lock().remove(self.slot, &self.keys);' 'self.parked.index.lock().waiters.remove(self.slot);
        self.parked.index.lock().for_each_list(&self.keys, |list| list.remove(self.slot));'

printf '%d mutants found, %d survived\n' "$found" "${#survivors[@]}"
((${#survivors[@]} == 0))
