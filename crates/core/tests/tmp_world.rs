use bursa_core::sim::*;
#[test]
fn some() {
    let n: u64 = std::env::var("N").ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    let from: u64 = std::env::var("FROM").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut bad = 0; let mut steps = 0;
    let seeds: Vec<u64> = match std::env::var("SEEDS") { Ok(s) => s.split(',').map(|x| x.parse().unwrap()).collect(), _ => (from..from + n).collect() };
    for seed in seeds {
        let plan = Plan::random(seed);
        if std::env::var("SHOW").is_ok() { println!("seed {seed}"); }
        match run(seed, &plan) { Ok(r) => {steps += r.steps;}, Err(v) => { bad += 1; if std::env::var("FULL").is_ok() { println!("{v}\n{:?}", plan); } else { println!("{seed}: {} {}", v.rule, v.text.replace("\n", " ").chars().take(180).collect::<String>()); } } }
    }
    println!("bad {bad} of {n}; steps {steps}");
}
