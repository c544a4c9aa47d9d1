-- Tables of the starter's second set (DuckDB). Deterministic; no input files.

CREATE TABLE gigs (gig_id INTEGER, band VARCHAR, venue VARCHAR, city VARCHAR, genre VARCHAR, gig_date DATE, tickets_sold INTEGER, ticket_price DECIMAL(6,2), sold_out BOOLEAN);
INSERT INTO gigs VALUES
  (1, 'Velvet Owls',   'Kulturhaus',  'Hamburg',  'indie',   '2023-02-11',  420, 28.00, true),
  (2, 'Tin Harbor',    'The Vault',   'Glasgow',  'folk',    '2023-03-04',  180, 19.50, false),
  (3, 'Nova Kestrel',  'Arena Sud',   'Marseille','electro', '2023-03-18', 2300, 41.00, true),
  (4, 'Velvet Owls',   'The Vault',   'Glasgow',  'indie',   '2023-04-09',  310, 27.00, false),
  (5, 'Sable Choir',   'Old Mill',    'Utrecht',  'metal',   '2023-05-20',  640, 33.50, false),
  (6, 'Tin Harbor',    'Old Mill',    'Utrecht',  'folk',    '2023-06-02',  205, 18.00, false),
  (7, 'Nova Kestrel',  'Kulturhaus',  'Hamburg',  'electro', '2023-07-15',  990, 39.00, true),
  (8, 'Paper Comets',  'The Vault',   'Glasgow',  'indie',   '2023-08-23',  150, 16.00, false),
  (9, 'Sable Choir',   'Arena Sud',   'Marseille','metal',   '2023-09-30', 1750, 36.00, false),
  (10,'Velvet Owls',   'Arena Sud',   'Marseille','indie',   '2023-11-11', 1420, 31.00, false),
  (11,'Lowland Brass', 'Kulturhaus',  'Hamburg',  'jazz',    '2024-01-13',  275, 24.00, false),
  (12,'Nova Kestrel',  'Old Mill',    'Utrecht',  'electro', '2024-02-17',  700, 38.00, true),
  (13,'Tin Harbor',    'Kulturhaus',  'Hamburg',  'folk',    '2024-03-08',  240, 21.00, false),
  (14,'Lowland Brass', 'The Vault',   'Glasgow',  'jazz',    '2024-04-19',  195, 22.50, true),
  (15,'Paper Comets',  'Old Mill',    'Utrecht',  'indie',   '2024-05-25',  330, 17.50, false),
  (16,'Sable Choir',   'Kulturhaus',  'Hamburg',  'metal',   '2024-06-14',  880, 34.00, true),
  (17,'Velvet Owls',   'Old Mill',    'Utrecht',  'indie',   '2024-07-06',  515, 30.00, true),
  (18,'Nova Kestrel',  'Arena Sud',   'Marseille','electro', '2024-09-21', 2610, 44.00, true);

CREATE TABLE beehives (hive_id INTEGER, apiary VARCHAR, breed VARCHAR, honey_kg DOUBLE, mite_count INTEGER, installed_on DATE, queen_marked BOOLEAN, keeper VARCHAR);
INSERT INTO beehives VALUES
  (101, 'Lindenhof',  'Carniolan', 18.5, 12, '2020-04-12', true,  'Femke'),
  (102, 'Lindenhof',  'Buckfast',  24.0,  7, '2021-05-03', true,  'Femke'),
  (103, 'Lindenhof',  'Carniolan',  9.5, 31, '2019-04-28', false, 'Joris'),
  (104, 'Heath Side', 'Buckfast',  27.5,  4, '2022-04-17', true,  'Aylin'),
  (105, 'Heath Side', 'Italian',   15.0, 19, '2021-06-21', false, 'Aylin'),
  (106, 'Heath Side', 'Italian',   21.0, 10, '2022-05-09', false, 'Joris'),
  (107, 'Quarry',     'Carniolan', 12.0, 25, '2018-05-15', false, 'Joris'),
  (108, 'Quarry',     'Buckfast',  30.5,  3, '2023-04-05', true,  'Femke'),
  (109, 'Quarry',     'Italian',    7.0, 44, '2020-07-01', false, 'Aylin'),
  (110, 'Orchard',    'Buckfast',  22.5,  9, '2023-05-27', true,  'Joris'),
  (111, 'Orchard',    'Carniolan', 16.0, 15, '2022-06-30', true,  'Femke'),
  (112, 'Orchard',    'Italian',   11.5, 28, '2019-06-10', false, 'Aylin');

CREATE TABLE support_chats (chat_id INTEGER, agent VARCHAR, topic VARCHAR, opened_on DATE, closed_on DATE, minutes INTEGER, stars INTEGER, resolved BOOLEAN);
INSERT INTO support_chats VALUES
  (1, 'Ottilie', 'billing',  '2024-03-01', '2024-03-01', 12,  5, true),
  (2, 'Marek',   'login',    '2024-03-02', '2024-03-03', 35,  3, true),
  (3, 'Ottilie', 'shipping', '2024-03-04', NULL,         48, NULL, false),
  (4, 'Thandi',  'billing',  '2024-03-06', '2024-03-06',  9,  4, true),
  (5, 'Marek',   'refund',   '2024-03-09', '2024-03-12', 51,  1, false),
  (6, 'Thandi',  'login',    '2024-03-11', '2024-03-11', 16,  5, true),
  (7, 'Ottilie', 'refund',   '2024-03-15', '2024-03-18', 44,  2, true),
  (8, 'Marek',   'billing',  '2024-03-19', NULL,         27, NULL, false),
  (9, 'Thandi',  'shipping', '2024-04-02', '2024-04-02', 14,  4, true),
  (10,'Ottilie', 'login',    '2024-04-05', '2024-04-05', 11,  5, true),
  (11,'Marek',   'shipping', '2024-04-08', '2024-04-10', 38,  2, true),
  (12,'Thandi',  'refund',   '2024-04-12', NULL,         60, NULL, false),
  (13,'Ottilie', 'billing',  '2024-04-17', '2024-04-17', 13,  4, true),
  (14,'Thandi',  'login',    '2024-04-23', '2024-04-24', 22,  3, true);

CREATE TABLE coffee_lots (lot_id INTEGER, origin VARCHAR, variety VARCHAR, process VARCHAR, bags INTEGER, price_per_bag DECIMAL(7,2), cupping_score DOUBLE, harvested DATE);
INSERT INTO coffee_lots VALUES
  (1, 'Ethiopia',  'Heirloom', 'washed',  120, 310.00, 87.5, '2023-11-20'),
  (2, 'Colombia',  'Caturra',  'washed',  240, 255.00, 84.0, '2023-10-02'),
  (3, 'Kenya',     'SL28',     'washed',   80, 395.00, 89.0, '2023-12-11'),
  (4, 'Brazil',    'Bourbon',  'natural', 600, 190.00, 81.5, '2023-07-25'),
  (5, 'Ethiopia',  'Heirloom', 'natural',  95, 335.00, 88.0, '2024-01-08'),
  (6, 'Guatemala', 'Bourbon',  'washed',  150, 270.00, 85.5, '2024-02-14'),
  (7, 'Colombia',  'Geisha',   'honey',    25, 720.00, 91.5, '2024-01-30'),
  (8, 'Brazil',    'Catuai',   'natural', 480, 185.00, 80.0, '2024-06-19'),
  (9, 'Kenya',     'Ruiru 11', 'washed',  110, 300.00, 85.0, '2024-02-27'),
  (10,'Guatemala', 'Caturra',  'honey',    70, 290.00, 86.0, '2024-03-05');
