-- Tables for the starter development set (DuckDB). Deterministic; no input files.

CREATE TABLE orders (
  order_id INTEGER, customer VARCHAR, product VARCHAR, category VARCHAR, region VARCHAR,
  quantity INTEGER, amount DECIMAL(10,2), status VARCHAR, order_date DATE
);
INSERT INTO orders VALUES
  (1001, 'Brightside', 'Desk Lamp',      'Furniture',   'North',  4,  179.60, 'delivered', '2024-01-08'),
  (1002, 'Acme',       'Laptop Stand',   'Electronics', 'West',  10,  450.00, 'delivered', '2024-01-15'),
  (1003, 'Holloway',   'Notebook',       'Stationery',  'South', 40,  120.00, 'delivered', '2024-01-19'),
  (1004, 'Acme',       'Monitor',        'Electronics', 'West',   3,  867.00, 'returned',  '2024-01-27'),
  (1005, 'Pinecrest',  'Office Chair',   'Furniture',   'East',   6, 1134.00, 'delivered', '2024-02-02'),
  (1006, 'Delmar',     'Kettle',         'Kitchen',     'North',  2,   78.50, 'cancelled', '2024-02-06'),
  (1007, 'Brightside', 'Notebook',       'Stationery',  'North', 25,   75.00, 'delivered', '2024-02-14'),
  (1008, 'Quill & Co', 'Pen Set',        'Stationery',  'South', 30,  210.00, 'delivered', '2024-02-20'),
  (1009, 'Holloway',   'Coffee Maker',   'Kitchen',     'South',  1,  139.90, 'returned',  '2024-02-23'),
  (1010, 'Pinecrest',  'Standing Desk',  'Furniture',   'East',   2,  998.00, 'delivered', '2024-03-01'),
  (1011, 'Acme',       'Keyboard',       'Electronics', 'West',   8,  512.00, 'delivered', '2024-03-05'),
  (1012, 'Delmar',     'Notebook',       'Stationery',  'North', 15,   45.00, 'delivered', '2024-03-09'),
  (1013, 'Varga',      'Monitor',        'Electronics', 'West',   5, 1445.00, 'delivered', '2024-03-12'),
  (1014, 'Brightside', 'Office Chair',   'Furniture',   'North',  1,  189.00, 'cancelled', '2024-03-18'),
  (1015, 'Quill & Co', 'Kettle',         'Kitchen',     'South',  3,  117.75, 'delivered', '2024-03-22'),
  (1016, 'Holloway',   'Desk Lamp',      'Furniture',   'South',  2,   89.80, 'delivered', '2024-03-29'),
  (1017, 'Varga',      'Laptop Stand',   'Electronics', 'West',   4,  180.00, 'delivered', '2024-04-03'),
  (1018, 'Pinecrest',  'Pen Set',        'Stationery',  'East',  12,   84.00, 'delivered', '2024-04-08'),
  (1019, 'Acme',       'Monitor',        'Electronics', 'West',   2,  578.00, 'shipped',   '2024-04-16'),
  (1020, 'Delmar',     'Coffee Maker',   'Kitchen',     'North',  2,  279.80, 'delivered', '2024-04-21'),
  (1021, 'Brightside', 'Keyboard',       'Electronics', 'North',  3,  192.00, 'shipped',   '2024-04-30'),
  (1022, 'Holloway',   'Notebook',       'Stationery',  'South', 60,  180.00, 'shipped',   '2024-05-04'),
  (1023, 'Varga',      'Standing Desk',  'Furniture',   'West',   1,  499.00, 'cancelled', '2024-05-07'),
  (1024, 'Pinecrest',  'Monitor',        'Electronics', 'East',   4, 1156.00, 'shipped',   '2024-05-13'),
  (1025, 'Quill & Co', 'Notebook',       'Stationery',  'South', 20,   60.00, 'pending',   '2024-05-20'),
  (1026, 'Acme',       'Office Chair',   'Furniture',   'West',   3,  567.00, 'shipped',   '2024-05-26'),
  (1027, 'Delmar',     'Desk Lamp',      'Furniture',   'North',  5,  224.50, 'pending',   '2024-06-02'),
  (1028, 'Brightside', 'Coffee Maker',   'Kitchen',     'North',  1,  142.00, 'pending',   '2024-06-09'),
  (1029, 'Varga',      'Keyboard',       'Electronics', 'West',   6,  384.00, 'pending',   '2024-06-15'),
  (1030, 'Holloway',   'Pen Set',        'Stationery',  'South',  9,   63.00, 'pending',   '2024-06-21');

CREATE TABLE clinic_visits (
  visit_id INTEGER, patient_name VARCHAR, age INTEGER, doctor VARCHAR, department VARCHAR,
  fee DECIMAL(8,2), wait_minutes INTEGER, insured BOOLEAN, visit_date DATE
);
INSERT INTO clinic_visits VALUES
  (1,  'Maya Lindqvist',   34, 'Okafor',  'Dermatology', 120.00, 22, true,  '2023-09-04'),
  (2,  'Tomas Rivera',     71, 'Brandt',  'Cardiology',  310.00, 48, true,  '2023-09-06'),
  (3,  'Ines Duarte',       8, 'Sato',    'Pediatrics',   85.00, 15, true,  '2023-09-07'),
  (4,  'Gordon Pike',      59, 'Brandt',  'Cardiology',  275.00, 36, false, '2023-09-12'),
  (5,  'Lena Fischer',     27, 'Okafor',  'Dermatology',  95.00, 31, false, '2023-09-18'),
  (6,  'Samir Haddad',     45, 'Novak',   'Orthopedics', 240.00, 52, true,  '2023-09-21'),
  (7,  'Ruth Adeyemi',     66, 'Novak',   'Orthopedics', 405.00, 64, true,  '2023-09-28'),
  (8,  'Oscar Bell',        5, 'Sato',    'Pediatrics',   70.00,  9, true,  '2023-10-02'),
  (9,  'Tomas Rivera',     71, 'Brandt',  'Cardiology',  180.00, 27, true,  '2023-10-05'),
  (10, 'Hana Kim',         39, 'Okafor',  'Dermatology', 150.00, 18, true,  '2023-10-09'),
  (11, 'Peter Walsh',      52, 'Novak',   'Orthopedics', 220.00, 41, false, '2023-10-11'),
  (12, 'Ines Duarte',       8, 'Sato',    'Pediatrics',   60.00, 12, true,  '2023-10-17'),
  (13, 'Amara Nwosu',      30, 'Leclerc', 'Neurology',   330.00, 55, true,  '2023-10-20'),
  (14, 'Viktor Hale',      81, 'Brandt',  'Cardiology',  290.00, 44, true,  '2023-10-26'),
  (15, 'Gordon Pike',      59, 'Brandt',  'Cardiology',  160.00, 19, false, '2023-11-01'),
  (16, 'Clara Jensen',     12, 'Sato',    'Pediatrics',   90.00, 25, false, '2023-11-06'),
  (17, 'Samir Haddad',     45, 'Novak',   'Orthopedics', 130.00, 33, true,  '2023-11-09'),
  (18, 'Bea Romano',       23, 'Okafor',  'Dermatology', 110.00, 29, false, '2023-11-14'),
  (19, 'Amara Nwosu',      30, 'Leclerc', 'Neurology',   260.00, 38, true,  '2023-11-20'),
  (20, 'Ruth Adeyemi',     66, 'Novak',   'Orthopedics', 195.00, 47, true,  '2023-11-23'),
  (21, 'Noah Petit',        3, 'Sato',    'Pediatrics',   75.00, 11, true,  '2023-12-01'),
  (22, 'Ilse Vogel',       48, 'Leclerc', 'Neurology',   365.00, 61, false, '2023-12-05'),
  (23, 'Viktor Hale',      81, 'Brandt',  'Cardiology',  215.00, 30, true,  '2023-12-12'),
  (24, 'Hana Kim',         39, 'Okafor',  'Dermatology', 105.00, 16, true,  '2023-12-19');

-- Sensor readings: three devices in three rooms, one reading every two hours.
CREATE TABLE readings (ts TIMESTAMP, dev VARCHAR, room VARCHAR, temp DOUBLE, hum INTEGER, batt INTEGER);
INSERT INTO readings
SELECT TIMESTAMP '2024-07-01 00:00:00' + INTERVAL (2 * i) HOUR,
       CASE i % 3 WHEN 0 THEN 'A1' WHEN 1 THEN 'B2' ELSE 'C3' END,
       CASE i % 3 WHEN 0 THEN 'lab' WHEN 1 THEN 'kitchen' ELSE 'cellar' END,
       CASE i % 3 WHEN 0 THEN 21.0 WHEN 1 THEN 24.5 ELSE 13.0 END + ((i * 7) % 31) / 10.0,
       CASE i % 3 WHEN 0 THEN 40 WHEN 1 THEN 52 ELSE 70 END + (i * 11) % 17,
       CASE i % 3 WHEN 0 THEN 98 WHEN 1 THEN 64 ELSE 33 END - i // 2
FROM generate_series(0, 29) AS g(i);

CREATE TABLE books (
  id INTEGER, title VARCHAR, author VARCHAR, genre VARCHAR, year INTEGER,
  pages INTEGER, copies INTEGER, rating DOUBLE
);
INSERT INTO books VALUES
  (1,  'The Salt Road',          'Edith Marlow',   'history',  1987, 412, 3, 4.1),
  (2,  'Orbit of Ash',           'Jun Takeda',     'science fiction', 2015, 368, 5, 4.4),
  (3,  'A Quiet Harbour',        'Nell Brody',     'mystery',  2009, 296, 4, 3.8),
  (4,  'Dragons of the Fen',     'Rowan Ashby',    'fantasy',  2018, 640, 6, 4.6),
  (5,  'The Glass Orchard',      'Rowan Ashby',    'fantasy',  2021, 588, 7, 4.7),
  (6,  'Letters to Tobruk',      'Edith Marlow',   'history',  1994, 350, 2, 3.9),
  (7,  'Ninth Moon',             'Jun Takeda',     'science fiction', 2019, 421, 4, 4.2),
  (8,  'Death at Low Tide',      'Nell Brody',     'mystery',  2012, 310, 5, 4.0),
  (9,  'The Bell Ringer',        'Carlo Venti',    'mystery',  1978, 275, 1, 3.5),
  (10, 'Winter Cartographers',   'Ada Sorensen',   'history',  2003, 498, 3, 4.3),
  (11, 'The Last Relay',         'Jun Takeda',     'science fiction', 2022, 455, 8, 4.5),
  (12, 'Small Rivers',           'Ottilie Grau',   'poetry',   1966,  96, 2, 4.0),
  (13, 'Ember Court',            'Rowan Ashby',    'fantasy',  2023, 702, 9, 4.8),
  (14, 'The Tin Cathedral',      'Carlo Venti',    'history',  1981, 388, 1, 3.6),
  (15, 'Under Slow Rain',        'Ottilie Grau',   'poetry',   1972, 112, 1, 4.2),
  (16, 'Red Ledger',             'Nell Brody',     'mystery',  2016, 334, 6, 3.7),
  (17, 'The Cobalt Heir',        'Mina Larkspur',  'fantasy',  2011, 530, 3, 3.4),
  (18, 'Signals',                'Ada Sorensen',   'science fiction', 1999, 240, 2, 3.3),
  (19, 'Kings of Salt',          'Edith Marlow',   'history',  2001, 467, 4, 4.3),
  (20, 'Paper Lanterns',         'Ottilie Grau',   'poetry',   1985,  88, 3, 3.8);

CREATE TABLE employees (
  EmpNo INTEGER, FullName VARCHAR, Team VARCHAR, JobTitle VARCHAR, Salary INTEGER,
  HireDate DATE, Remote BOOLEAN, City VARCHAR
);
INSERT INTO employees VALUES
  (11, 'Priya Raman',     'Platform',  'Engineer',     84000, '2019-03-11', true,  'Lisbon'),
  (12, 'Joel Sandberg',   'Platform',  'Engineer',     79500, '2021-06-01', true,  'Oslo'),
  (13, 'Marta Kowal',     'Finance',   'Accountant',   61000, '2017-10-02', false, 'Krakow'),
  (14, 'Dev Chatterjee',  'Sales',     'Account Rep',  52000, '2022-01-17', false, 'London'),
  (15, 'Alice Monroe',    'Sales',     'Manager',      88000, '2015-05-25', false, 'London'),
  (16, 'Bruno Teixeira',  'Support',   'Agent',        39000, '2023-02-06', true,  'Lisbon'),
  (17, 'Grace Obi',       'Support',   'Agent',        41000, '2020-09-14', true,  'London'),
  (18, 'Henrik Dahl',     'Platform',  'Manager',     102000, '2014-08-18', false, 'Oslo'),
  (19, 'Yuki Arai',       'Design',    'Designer',     67000, '2018-04-30', true,  'Lisbon'),
  (20, 'Nadia Petrova',   'Finance',   'Manager',      93000, '2016-11-07', false, 'London'),
  (21, 'Sean Doyle',      'Support',   'Agent',        40500, '2021-03-22', false, 'London'),
  (22, 'Fatima Zahra',    'Platform',  'Engineer',     86500, '2020-01-13', true,  'Lisbon'),
  (23, 'Leo Marchetti',   'Sales',     'Account Rep',  55500, '2019-07-08', true,  'Krakow'),
  (24, 'Zoe Whitfield',   'Design',    'Designer',     64500, '2022-10-10', true,  'London'),
  (25, 'Karim Aziz',      'Platform',  'Engineer',     73000, '2023-05-15', true,  'Krakow'),
  (26, 'Ellen Strand',    'Support',   'Manager',      71500, '2018-12-03', false, 'Oslo');
