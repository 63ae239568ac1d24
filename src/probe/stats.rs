//! Exact tests on counts, and what is left of them when many are made.

/// How often something was so, of how many runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    pub hits: u32,
    pub of: u32,
}

impl Share {
    pub fn add(&mut self, hit: bool) {
        self.hits += u32::from(hit);
        self.of += 1;
    }
}

/// Fisher's exact test, one-sided: the probability that `with` has as many hits or more if both shares came from one
/// urn. 1 where either is empty.
pub fn fisher(with: Share, without: Share) -> f64 {
    if with.of == 0 || without.of == 0 {
        return 1.0;
    }
    let (all, hits) = (with.of + without.of, with.hits + without.hits);
    let ways =
        |hits_with: u32| choose(hits, hits_with) + choose(all - hits, with.of - hits_with) - choose(all, with.of);
    let most = hits.min(with.of);
    let sum: f64 = (with.hits..=most).filter(|&k| with.of - k <= all - hits).map(|k| ways(k).exp()).sum();
    sum.min(1.0)
}

/// The least that [`fisher`] could give for as many hits in all: a test that can never be significant is none, and does not
/// count among those that are corrected for (Tarone, 1990; Gilbert, 2005).
pub fn attainable(with: Share, without: Share) -> f64 {
    let hits = with.hits + without.hits;
    let most = hits.min(with.of);
    fisher(Share { hits: most, ..with }, Share { hits: hits - most, ..without })
}

/// The logarithm of a binomial coefficient.
fn choose(n: u32, k: u32) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    let factorial = |n: u32| (2..=n).map(|k| f64::from(k).ln()).sum::<f64>();
    factorial(n) - factorial(k) - factorial(n - k)
}

/// The q values of `p` (Benjamini and Hochberg, 1995): the least rate of false discoveries at which each would be called one.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut q = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (rank, &at) in order.iter().enumerate().rev() {
        least = least.min(p[at] * p.len() as f64 / (rank + 1) as f64);
        q[at] = least;
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(hits: u32, of: u32) -> Share {
        Share { hits, of }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn fisher_is_the_share_of_the_ways_to_draw() {
        // 3 of 3 against 0 of 8: one way of the 165 to choose 3 of 11.
        assert!(close(fisher(share(3, 3), share(0, 8)), 1.0 / 165.0));
        // Tea tasting (Fisher, 1935): 3 of 4 against 1 of 4 is 17 ways of 70.
        assert!(close(fisher(share(3, 4), share(1, 4)), 17.0 / 70.0));
        assert!(close(fisher(share(0, 3), share(0, 8)), 1.0));
        assert!(close(fisher(share(0, 3), share(5, 8)), 1.0));
        assert!(close(fisher(share(2, 2), share(0, 0)), 1.0));
    }

    #[test]
    fn what_never_or_always_hits_cannot_be_significant() {
        assert!(close(attainable(share(0, 3), share(0, 8)), 1.0));
        assert!(close(attainable(share(3, 3), share(8, 8)), 1.0));
        assert!(close(attainable(share(0, 3), share(1, 8)), 3.0 / 11.0));
        assert!(close(attainable(share(1, 3), share(2, 8)), 1.0 / 165.0));
    }

    #[test]
    fn q_values_follow_the_rank() {
        let q = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in q.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            assert!(close(*found, expected), "{q:?}");
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn the_tails_on_both_sides_and_the_point_between_make_one(a in 0..12u32, n in 1..12u32, b in 0..12u32, m in 1..12u32) {
            let (a, b) = (a.min(n), b.min(m));
            // P(X >= a) + P(X <= a - 1) = 1, and the lower tail is the upper one of what did not hit.
            let upper = fisher(share(a, n), share(b, m));
            let lower = match a {
                0 => 0.0,
                _ if b + 1 > m => 0.0,
                _ => fisher(share(n - a + 1, n), share(m - b - 1, m)),
            };
            proptest::prop_assert!(b + 1 > m || (upper + lower - 1.0).abs() < 1e-6, "{} {}", upper, lower);
        }
    }
}
