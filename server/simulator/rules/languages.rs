/// Codes that `lang:` knows (PowerTrack rules and filtering; payloads add `he`, `id`, `zh` and the pseudo codes).
const LANGUAGES: &str = " am ar bg bn bo bs ca ckb cs cy da de dv el en es et eu fa fi fr gu he hi hi-latn hr ht hu hy id in is it iw \
     ja ka km kn ko lo lt lv ml mr my ne nl no or pa pl ps pt ro ru sd si sk sl sr sv ta te th tl tr ug uk ur vi zh zh-cn zh-tw \
     und qam qct qht qme qst zxx art ";

/// The code in lower case, if it is known. X ignores `lang:` with any other, which makes a rule wider.
pub(super) fn known(code: &str) -> Option<String> {
    let code = code.to_ascii_lowercase();
    LANGUAGES.split_ascii_whitespace().any(|known| known == code).then_some(code)
}
