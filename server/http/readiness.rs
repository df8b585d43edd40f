/// Reports whether the process is ready.
pub trait ReadinessProbe: Send + Sync {
    /// Returns one short text per component that is not ready. Called for each request; must not block.
    fn readiness(&self) -> Result<(), Vec<String>>;
}
