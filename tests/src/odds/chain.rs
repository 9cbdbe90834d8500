//! Chain: a Markov chain in continuous time with one state that is never left, the last.
//!
//! Solved by uniformisation, then by squaring: only sums and products of numbers that are not negative, so a probability of 1e-30 is as
//! exact as one of a half.

type Matrix = Vec<Vec<f64>>;

/// Rates from each state to each other one.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    rates: Matrix,
}

impl Chain {
    /// So many states, and no way between them.
    pub(crate) fn new(states: usize) -> Self {
        Self { rates: vec![vec![0.0; states]; states] }
    }

    /// One more way from a state to another.
    pub(crate) fn add(&mut self, from: u32, to: u32, rate: f64) {
        let row = usize::try_from(from).ok().and_then(|from| self.rates.get_mut(from));
        let cell = row.and_then(|row| row.get_mut(usize::try_from(to).ok()?));
        if let Some(cell) = cell {
            *cell += rate;
        }
    }

    /// The rates at which a state is left, to each other one.
    #[cfg(test)]
    pub(crate) fn ways(&self, from: usize) -> &[f64] {
        self.rates.get(from).map_or(&[], Vec::as_slice)
    }

    /// The probability to be in the last state after a time, when the chain starts in the first.
    pub(crate) fn absorbed(&self, time: f64) -> f64 {
        let states = self.rates.len();
        let fastest = self.rates.iter().map(|row| row.iter().sum::<f64>()).fold(0.0, f64::max);
        if fastest <= 0.0 || time <= 0.0 {
            return 0.0;
        }
        // A step in which hardly anything happens; doubled until it is the whole time.
        let (mut step, mut doublings) = (time, 0);
        while step * fastest > 1.0 / 16.0 {
            step /= 2.0;
            doublings += 1;
        }
        let jump: Matrix = self
            .rates
            .iter()
            .enumerate()
            .map(|(from, row)| {
                let stays = 1.0 - row.iter().sum::<f64>() / fastest;
                row.iter().enumerate().map(|(to, rate)| if to == from { stays } else { rate / fastest }).collect()
            })
            .collect();
        let mut power = identity(states);
        let mut weight = (-step * fastest).exp();
        let mut sum = vec![vec![0.0; states]; states];
        let mut jumps = 0.0;
        // The last state may be as many jumps away as there are states; beyond that each term is a sixteenth of the one before at most.
        for _ in 0..states + 16 {
            for (sums, powers) in sum.iter_mut().zip(&power) {
                for (cell, value) in sums.iter_mut().zip(powers) {
                    *cell += weight * value;
                }
            }
            jumps += 1.0;
            weight *= step * fastest / jumps;
            power = product(&power, &jump);
        }
        for _ in 0..doublings {
            sum = product(&sum, &sum);
        }
        sum.first().and_then(|row| row.last()).copied().unwrap_or(0.0)
    }
}

fn identity(states: usize) -> Matrix {
    (0..states).map(|row| (0..states).map(|column| if row == column { 1.0 } else { 0.0 }).collect()).collect()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let line = |row: &Vec<f64>| {
        let mut out = vec![0.0; row.len()];
        for (factor, other) in row.iter().zip(b) {
            for (cell, value) in out.iter_mut().zip(other) {
                *cell += factor * value;
            }
        }
        out
    };
    a.iter().map(line).collect()
}
