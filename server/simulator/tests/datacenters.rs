use super::*;

fn two() -> Config {
    Config { live_connections_max: 4, ..quiet() }
}

/// Three posts of each datacenter, in turn.
fn publish(bench: &Bench) {
    for n in 0..6 {
        bench.sim.publish_in(["atla", "pdxa"][n % 2], &cat(n)).expect("an object");
    }
}

fn path(datacenter: &str, query: &str) -> String {
    format!("/dc/{datacenter}/2/powerstream{query}")
}

#[tokio::test]
async fn full_copies_have_all_datacenters_their_own() {
    let bench = Bench::start(two());
    // The second is asked for first: the address decides, not the order.
    let mut local =
        [bench.get(&path("pdxa", "?localDcOnly=true")).await, bench.get(&path("atla", "?localDcOnly=true")).await];
    let mut full = [bench.get("/2/powerstream").await, bench.get(&path("pdxa", "")).await];
    publish(&bench);
    let truth = bench.sim.sent_posts();
    for client in &mut full {
        assert_eq!(client.read_lines(6).await, payloads(&truth));
        assert!(!client.head.contains("x-powerstream-datacenter"));
    }
    for (client, (place, name)) in local.iter_mut().zip([(1, "pdxa"), (0, "atla")]) {
        let own: Vec<_> = truth.iter().filter(|post| post.datacenter == place).cloned().collect();
        assert_eq!(client.read_lines(4).await[1..], payloads(&own));
        assert!(client.head.contains(&format!("x-powerstream-datacenter: {name}")));
    }
    assert_eq!(bench.sim.base_url_of("atla"), format!("{}/dc/atla", bench.sim.base_url()));
    assert_eq!(bench.get(&path("mars", "")).await.status(), 404);
    assert!(bench.sim.publish_in("mars", &cat(1)).is_err());
}

#[tokio::test]
async fn faults_target_datacenter_or_connection() {
    let bench = Bench::start(two());
    let mut clients = [
        bench.get(&path("atla", "?localDcOnly=true")).await,
        bench.get(&path("pdxa", "?localDcOnly=true")).await,
        bench.get("/2/powerstream").await,
    ];
    let pdxa = Scope::Datacenter("pdxa".into());
    bench.sim.refuse(&pdxa, Repeat::UntilCleared, ErrorResponse::named("unavailable").expect("it is known"));
    assert_eq!(bench.sim.cut_of(&pdxa, CutKind::CleanEnd), 1);
    clients[1].read_to_end().await;
    assert_eq!(bench.get(&path("pdxa", "?localDcOnly=true")).await.status(), 503);
    assert_eq!(bench.get(&path("atla", "")).await.status(), 200);
    bench.eventually("two are left", |sim| sim.connections().live == 2).await;
    bench.sim.set_flow(&Scope::Connection(0), Flow::Stalled);
    bench.eventually("it is met", |sim| sim.counters().stalls == 1).await;
    publish(&bench);
    clients[2].read_lines(6).await;
    assert_eq!(clients[0].lines().len(), 1, "it has its greeting alone");
    bench.sim.set_flow(&Scope::Connection(0), Flow::Open);
    clients[0].read_lines(4).await;
    assert_eq!(bench.sim.cut_of(&Scope::Connection(1), CutKind::Reset), 1);
    clients[2].read_to_end().await;
    assert_eq!(bench.sim.cut_of(&Scope::Connection(7), CutKind::Reset), 0);
}
