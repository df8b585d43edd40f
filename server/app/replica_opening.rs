//! Opens the logs of an account that other replicas have, too.
//!
//! | directory | action |
//! |---|---|
//! | empty | it is filled from the shared log, from its first message or its oldest checkpoint on |
//! | with the file `place` | the replica continues there |
//! | with `place`, which the shared log has trimmed | it is set aside, and filled again |
//! | with `refill` | its records are not those of the shared log: it is set aside, and filled again |
//! | with `filling` | a fill was interrupted: it is removed, and filled again |
//! | with a log, without `place` | it belongs to a process without replicas: it is moved in if the shared log is new |
//! | with a log of another epoch than the shared log | refused |

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;

use super::open_context::OpenContext;
use super::replication::{JOIN_INTERVAL, JOIN_TIMEOUT, LeasedTransport, Replication};
use crate::config::AccountSettings;
use crate::ingest::replication::{FillStart, PlaceFile, ReplicaPlace, find_start, join};
use crate::journal::{self, Disk, Journal, WriterIdentity};
use crate::lease::{self, LeaseHandle, LeaseTask, Replica, Version, lease};
use crate::model::{AccountName, Epoch, Term, TermStart};
use crate::quorum::{LogInfo, Quorum, SharedIdentity};
use crate::state_file;

/// Marks a directory whose fill has not ended.
const FILLING: &str = "filling";
/// Marks a directory whose records the shared log has lost.
const REFILL: &str = "refill";
/// Where a replica is in the shared log.
const PLACE: &str = "place";

/// Marks the directory of a replica, which the next start sets aside.
pub(super) fn mark_for_refill(dir: &Path) -> std::io::Result<()> {
    state_file::write_atomic(&dir.join(REFILL), b"")
}

/// Renames a directory, whose replica begins with an empty one.
fn set_aside(account: &AccountName, dir: &Path, context: &OpenContext, reason: &'static str) -> anyhow::Result<()> {
    let aside = dir.with_extension(format!("aside-{:016x}", (context.random)()));
    tracing::warn!(%account, to = %aside.display(), reason, "directory of replica set aside");
    std::fs::rename(dir, &aside).with_context(|| format!("failed to rename {}", dir.display()))
}

/// The log in the directory of a replica.
struct OwnLog {
    identity: SharedIdentity,
    terms: Vec<TermStart>,
}

impl OwnLog {
    fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let Some((epoch, terms)) = journal::identity_of(dir)? else { return Ok(None) };
        let side = journal::identity_of(&side_dir(dir, epoch))?;
        let side_epoch = side.map_or(SharedIdentity::of_log(epoch).side_epoch, |(epoch, _)| epoch);
        Ok(Some(Self { identity: SharedIdentity { epoch, side_epoch }, terms }))
    }
}

/// A replica that has joined the others, and whose logs are not open.
pub(super) struct ReplicaOpening {
    pub(super) shared: Quorum,
    pub(super) identity: SharedIdentity,
    pub(super) lease: (LeaseHandle, LeaseTask),
    pub(super) place: ReplicaPlace,
    pub(super) file: PlaceFile,
    fill: Option<FillStart>,
}

/// Refuses the directory of a replica to a process without others: what it would append is in no shared log.
pub(super) fn check_alone(dir: &Path) -> anyhow::Result<()> {
    if dir.join(PLACE).exists() || dir.join(FILLING).exists() {
        bail!("{} is the log of a replica (replication.backend); use another data_dir", dir.display());
    }
    Ok(())
}

impl ReplicaOpening {
    /// Joins the replicas of an account. Blocks; called outside of the runtime's threads.
    pub(super) fn join(
        replication: &Replication,
        context: &OpenContext,
        account: &AccountSettings,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        Handle::current().block_on(Self::join_shared(replication, context, account, dir))
    }

    async fn join_shared(
        replication: &Replication,
        context: &OpenContext,
        account: &AccountSettings,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let clock = &context.clock;
        let shared = replication.account(&account.name, clock).await?;
        if dir.join(FILLING).exists() {
            tracing::info!(account = %account.name, "fill of this replica was interrupted, beginning again");
            std::fs::remove_dir_all(dir).with_context(|| format!("failed to remove {}", dir.display()))?;
        }
        if dir.join(REFILL).exists() {
            set_aside(&account.name, dir, context, "the shared log has lost its records")?;
        }
        let (file, found) = PlaceFile::open(dir)?;
        let own = OwnLog::read(dir)?;
        let proposed = own.as_ref().map_or_else(|| SharedIdentity::of_log(context.random_epoch()), |own| own.identity);
        let terms = own.as_ref().map_or(&[][..], |own| &own.terms);
        let (identity, created) = retried(context, async || join(&shared, proposed, terms).await).await?;
        if let Some(epoch) = own.as_ref().map(|own| own.identity.epoch).filter(|epoch| *epoch != identity.epoch) {
            let (dir, found) = (dir.display(), identity.epoch);
            bail!("{dir} is of another log (epoch {epoch}) than the shared log (epoch {found}); use another data_dir");
        }
        let place = match found {
            Some(place) => known_place(&shared, account, dir, &created, place, context).await?,
            // It is moved in: its place in the shared log is to be found.
            None => own.map(|own| ReplicaPlace::start(String::new(), own.identity.epoch)),
        };
        let (place, fill) = match place {
            Some(place) => (place, None),
            None => {
                let start = retried(context, async || find_start(&shared, identity, &created).await).await?;
                (start.place.clone(), Some(start))
            }
        };
        let lease = new_lease(replication, context, &account.name, &shared);
        tracing::info!(account = %account.name, replica = replication.config.name, epoch = %identity.epoch,
            place = place.last, fills = fill.is_some(), "joined replicas");
        Ok(Self { shared, identity, lease, place, file, fill })
    }

    /// Returns a context whose upstream requests need the lease.
    pub(super) fn guarded(&self, context: &OpenContext) -> OpenContext {
        let transport = LeasedTransport { inner: context.transport.clone(), lease: self.lease.0.clone() };
        OpenContext { transport: Arc::new(transport), ..context.clone() }
    }

    /// Opens the account's log, or begins it, and the side log with it.
    pub(super) fn open_log(
        &mut self,
        context: &OpenContext,
        dir: &Path,
        term: Term,
        disk: &Arc<dyn Disk>,
    ) -> anyhow::Result<Journal> {
        let (config, now) = (&context.settings.journal, context.clock.now());
        let identity = WriterIdentity { epoch: self.identity.epoch, term };
        let Some(start) = self.fill.take() else {
            let opened = journal::open_with(config, dir, identity, now, disk)?;
            let (found, expected) = (opened.reader.epoch(), self.identity.epoch);
            if found != expected {
                bail!("{} has epoch {found}, the shared log has {expected}; move it away", dir.display());
            }
            if self.place.created.is_empty() {
                // From now on it is the log of a replica, and refused to a process without others.
                self.file.save(&self.place, u64::MAX, u64::MAX)?;
            }
            return Ok(opened);
        };
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("failed to create {}", dir.display()))?;
        let marker = dir.join(FILLING);
        state_file::write_atomic(&marker, b"")?;
        let opened = journal::open_at(config, dir, &start.log, term, now, disk)?;
        drop(journal::open_at(config, &side_dir(dir, start.log.epoch), &start.side, term, now, disk)?);
        self.file.save(&start.place, u64::MAX, u64::MAX)?;
        std::fs::remove_file(&marker).with_context(|| format!("failed to remove {}", marker.display()))?;
        Ok(opened)
    }
}

fn side_dir(dir: &Path, epoch: Epoch) -> PathBuf {
    dir.join("side").join(epoch.to_string())
}

/// Returns the place of the directory; `None` if it was set aside, because the shared log has trimmed what follows.
async fn known_place(
    shared: &Quorum,
    account: &AccountSettings,
    dir: &Path,
    created: &str,
    place: ReplicaPlace,
    context: &OpenContext,
) -> anyhow::Result<Option<ReplicaPlace>> {
    let info = retried(context, async || shared.log.info().await).await?;
    // In a log that was created again, or that has no messages, the follower finds its place.
    let is_behind = |info: &LogInfo| !info.is_empty() && info.first > place.last + 1;
    if place.created != created || !info.is_some_and(|info| is_behind(&info)) {
        return Ok(Some(place));
    }
    set_aside(&account.name, dir, context, "it is behind the oldest message of the shared log")?;
    Ok(None)
}

fn new_lease(
    replication: &Replication,
    context: &OpenContext,
    account: &AccountName,
    shared: &Quorum,
) -> (LeaseHandle, LeaseTask) {
    let own = Replica {
        name: replication.config.name.clone(),
        address: replication.address.clone(),
        run: (context.random)(),
        version: Version::parse(env!("CARGO_PKG_VERSION")),
    };
    let config = lease::Config { ttl: replication.config.lease_ttl };
    let rng = StdRng::seed_from_u64((context.random)());
    lease(&config, account.clone(), own, shared.clone(), context.clock.clone(), rng)
}

/// Repeats a call until it succeeds, for a limited time.
async fn retried<T, E: std::error::Error + Send + Sync + 'static>(
    context: &OpenContext,
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    let clock = &context.clock;
    let began = clock.moment();
    loop {
        match call().await {
            Ok(result) => return Ok(result),
            Err(error) if clock.moment().since(began) >= JOIN_TIMEOUT => return Err(error.into()),
            Err(_) => clock.sleep(JOIN_INTERVAL).await,
        }
    }
}
