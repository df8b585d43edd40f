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
