use super::*;

#[test]
fn faults_of_roles_and_principals_name_path() {
    let top = |more: &str| format!("{MINIMAL}{more}\n");
    for (text, path, word) in [
        (top("roles: [{ name: a, accounts: [] }]"), "roles[0].accounts", "at least one account"),
        (top("roles: [{ name: a, accounts: ['*'], rights: [write] }]"), "roles[0].rights[0]", "rules.write"),
        (top("roles: [{ name: a, accounts: ['*'], tags: {} }]"), "roles[0].tags.allow", "untagged"),
        (top("roles: [{ name: a, accounts: [x] }, { name: a, accounts: [x] }]"), "roles[1].name", "another role"),
        (top("roles: [{ name: A b, accounts: [x] }]"), "roles[0].name", "1 to 63 characters"),
        (top("principals: [{ name: p, roles: [r] }]"), "principals[0].roles[0]", "no role has this name"),
        (top("auth: { anonymous: { roles: [r] } }"), "auth.anonymous.roles[0]", "no role has this name"),
        (
            top("auth: { certificates: [{ san: '*.example', principal: p }] }\nprincipals: [{ name: p, roles: [] }]"),
            "auth.certificates[0].san",
            "DNS name",
        ),
        (top("auth: { jwks: { age_max: 1s } }"), "auth.jwks.age_max", "between 1m and"),
        (top("auth: { certificates: [{ san: a, principal: p }] }"), "auth.certificates[0].principal", "no principal"),
        (
            top("grpc: { address: '0.0.0.0:1' }\nauth: { anonymous: { roles: [r] } }\n\
                 roles: [{ name: r, accounts: ['*'], rights: [read, recover] }]"),
            "auth.anonymous.roles[0]",
            "more rights than",
        ),
    ] {
        check(yaml(&text), &[(path, word)]);
    }
}

/// One issuer that is good but for these keys.
#[test]
fn jwt_issuer_faults_name_their_path() {
    let with = |other: &[(&str, &str)]| {
        let good = [("name", "corp"), ("issuer", "'https://a/'"), ("audiences", "[x]"), ("keys", "{ file: k }")];
        let kept = good.iter().filter(|(key, _)| other.iter().all(|(name, _)| name != key));
        let keys: Vec<_> = kept.chain(other).map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{{ {} }}", keys.join(", "))
    };
    let issuer = |other: &[(&str, &str)]| format!("{MINIMAL}auth: {{ jwt: [{}] }}\n", with(other));
    let one = |key: &str, value: &str| issuer(&[(key, value)]);
    let settings = yaml(&issuer(&[])).expect("good");
    assert_eq!(settings.auth.jwt[0].algorithms.len(), 3);
    assert!(settings.has_access_rules());
    for good in ["{ url: 'https://a/k', ca_file: c, bearer_file: b }", "{ url: 'http://127.0.0.1:1/k' }", "{ file: k }"]
    {
        yaml(&one("keys", good)).unwrap_or_else(|faults| panic!("{good}: {faults}"));
    }
    for (text, path, word) in [
        (one("name", "'a:b'"), "auth.jwt[0].name", "1 to 63 characters"),
        (one("issuer", "''"), "auth.jwt[0].issuer", "claim `iss`"),
        (one("audiences", "[]"), "auth.jwt[0].audiences", "at least one audience"),
        (one("audiences", "['']"), "auth.jwt[0].audiences", "at least one audience"),
        (one("algorithms", "[]"), "auth.jwt[0].algorithms", "at least one"),
        (one("algorithms", "[HS256]"), "auth.jwt[0].algorithms[0]", "RS256"),
        (one("algorithms", "[none]"), "auth.jwt[0].algorithms[0]", "RS256"),
        (one("lifetime_max", "1ms"), "auth.jwt[0].lifetime_max", "0s"),
        (one("tags_claim", "''"), "auth.jwt[0].tags_claim", "name a claim"),
        (one("default_roles", "[r]"), "auth.jwt[0].default_roles[0]", "no role has this name"),
        (one("roles", "[{ claim: g, value: v, role: r }]"), "auth.jwt[0].roles[0].role", "no role has this name"),
        (one("keys", "{}"), "auth.jwt[0].keys", "exactly one"),
        (one("keys", "{ file: k, url: 'https://a/' }"), "auth.jwt[0].keys", "exactly one"),
        (one("keys", "{ file: '' }"), "auth.jwt[0].keys.file", "name a file"),
        (one("keys", "{ file: k, ca_file: c }"), "auth.jwt[0].keys.ca_file", "no effect"),
        (one("keys", "{ file: k, bearer_file: c }"), "auth.jwt[0].keys.bearer_file", "no effect"),
        (one("keys", "{ url: 'http://a/' }"), "auth.jwt[0].keys.url", "an https URL"),
        (one("keys", "{ url: 'ftp://127.0.0.1/' }"), "auth.jwt[0].keys.url", "an https URL"),
        (one("keys", "{ url: 'https://u:p@a/' }"), "auth.jwt[0].keys.url", "no user"),
        (
            format!("{MINIMAL}auth: {{ jwt: [{}, {}] }}\n", with(&[]), with(&[("issuer", "b")])),
            "auth.jwt[1].name",
            "another issuer",
        ),
        (
            format!("{MINIMAL}auth: {{ jwt: [{}, {}] }}\n", with(&[]), with(&[("name", "b")])),
            "auth.jwt[1].issuer",
            "another entry",
        ),
    ] {
        check(yaml(&text), &[(path, word)]);
    }
}
