//! Until the engine has its own.
pub(crate) fn encode(_: &engine::door::Message) -> Vec<u8> {
    todo!()
}
pub(crate) fn decode(_: &[u8]) -> Result<engine::door::Message, content::encoding::Malformed> {
    todo!()
}
